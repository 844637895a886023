package attacks

import "strings"

// protocol are attacks on MCP as it is spoken over HTTP.
func protocol(w *world) (all []row) {
	const section = "MCP"
	add := func(name, want string, do func(w *world) string) {
		all = append(all, row{section, name, [columns]*cell{agents: {do, want}}})
	}
	send := func(body string, headers ...string) func(w *world) string {
		return func(w *world) string { return w.raw(w.post(endpoint, w.good, body, headers...)) }
	}
	call := message{"tools/call", tool}.String()
	const mismatch = "400 -32020"
	add("another method in the header", mismatch, send(call, "Mcp-Protocol-Version", modern, "Mcp-Method", "ping", "Mcp-Name", "apps_restart"))
	add("another tool in the header", mismatch, send(call, "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", "apps_list"))
	add("no tool in the header", mismatch, send(call, "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call"))
	add("no method in the header", mismatch, send(call, "Mcp-Protocol-Version", modern, "Mcp-Name", "apps_restart"))
	add("another version in the header", mismatch, send(call, "Mcp-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", "apps_restart"))
	add("a version that is none", "400 -32600", send(strings.Replace(call, meta+",", "", 1), "Mcp-Protocol-Version", "1999-01-01"))
	add("no session, in the former era", "400 -32600", send(strings.Replace(call, meta+",", "", 1), "Mcp-Protocol-Version", "2025-11-25"))
	add("a session that is none", "404 -32600", send(strings.Replace(call, meta+",", "", 1), "Mcp-Protocol-Version", "2025-11-25", "Mcp-Session-Id", "AAAAAAAAAAAAAAAAAAAAAAAAAA"))
	add("a stream taken up again in the new era", mismatch, send(call, append(append([]string{}, standard...), "Last-Event-ID", "1-0")...))
	add("GET, in the new era", "405 -32600", func(w *world) string {
		return w.raw(w.request("GET", endpoint, w.good, -1, "Mcp-Protocol-Version", modern))
	})
	add("DELETE of a session that is none", "404 -32600", func(w *world) string {
		return w.raw(w.request("DELETE", endpoint, w.good, -1, "Mcp-Session-Id", "AAAAAAAAAAAAAAAAAAAAAAAAAA"))
	})
	for _, name := range []string{"../../etc", "аpps_restart", "apps_restart ", "Apps_Restart", "apps.restart", "apps_restart\\u0000", strings.Repeat("t", 200), "__proto__", "apps_exec"} {
		header := name
		if strings.Contains(name, "\\u") || name != strings.TrimSpace(name) || name[0] > 127 {
			header = "" // no header can have it, or not in this way
		}
		body := strings.Replace(call, `"apps_restart"`, `"`+name+`"`, 1)
		want := "400 -32602"
		if header == "" {
			want = mismatch
		}
		add("the tool "+name[:min(len(name), 24)], want, send(body, "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", header))
	}
	for _, name := range []string{"apps_restart", "users_create", "apps_obliterate"} { // the same words for what is not there and what may not be seen
		add("the tool "+name+", by a viewer", "400 -32602", func(w *world) string {
			return w.raw(w.post(endpoint, w.views, strings.Replace(call, "apps_restart", name, 1), "Mcp-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", name))
		})
	}
	for _, path := range []string{"/mcp/readonly", "/mcp/x/logs"} {
		add("a tool that is not in "+path, "400 -32602", func(w *world) string { return w.raw(w.post(path, w.good, call, standard...)) })
	}
	for _, path := range []string{"/mcp/admin", "/mcp/x/", "/mcp/x/apps,", "/mcp/x/../full", "/mcp/x/APPS", "/mcp/full/x"} {
		add("the profile "+path, "404 not_found/no_route", func(w *world) string { return w.raw(w.post(path, w.good, call, standard...)) })
	}
	for _, method := range []string{"tools/destroy", "__proto__", "rpc.discover", "apps.restart", "resources/subscribe/../read"} {
		body := strings.Replace(call, `"tools/call"`, `"`+method+`"`, 1)
		add("the method "+method, "404 -32601", send(body, "Mcp-Protocol-Version", modern, "Mcp-Method", method))
	}
	for _, uri := range []string{"file:///etc/passwd", "http://169.254.169.254/", "omnitron://../../etc/passwd", "omnitron://apps/../../x", "omnitron://secrets/x"} {
		body := message{"resources/read", `{` + meta + `,"uri":"` + uri + `"}`}.String()
		add("the resource "+uri, "400 -32602", send(body, "Mcp-Protocol-Version", modern, "Mcp-Method", "resources/read", "Mcp-Name", uri))
	}
	return all
}
