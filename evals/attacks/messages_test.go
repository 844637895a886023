package attacks

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// messages are texts that are no call, or not the one that they seem. On the planes of lines the connection goes on.
func messages(w *world) (all []row) {
	const section = "JSON-RPC"
	const parse, request = "-32700", "-32600"
	add := func(name, want string, text func(m message) string) {
		r := row{section: section, name: name}
		for _, p := range []plane{unix, tcp} {
			r.cells[p] = &cell{func(w *world) string { return w.say(p, text(message{"apps.restart", effect})) }, want}
		}
		r.cells[agents] = &cell{func(w *world) string {
			return w.raw(w.post(endpoint, w.good, text(message{"tools/call", tool}), standard...))
		}, "400 " + want}
		all = append(all, r)
	}
	before := func(from, to string) func(m message) string {
		return func(m message) string { return strings.Replace(m.String(), from, to, 1) }
	}
	add("nothing", parse, func(message) string { return "" })
	add("a brace", parse, func(message) string { return "{" })
	add("half of it", parse, func(m message) string { return m.String()[:len(m.String())-9] })
	add("something behind it", parse, func(m message) string { return m.String() + " x" })
	add("two values", parse, func(m message) string { return m.String() + m.String() })
	add("a BOM", parse, func(m message) string { return "\ufeff" + m.String() })
	add("UTF-16", parse, func(m message) string { return strings.Join(strings.Split(m.String(), ""), "\x00") })
	add("bytes that are no UTF-8", parse, before(`"web"`, "\"web\",\"\xff\""))
	add("half a surrogate", parse, before(`"web"`, `"web","\ud800"`))
	add("a control character", parse, before(`"web"`, "\"web\",\"\x01\""))
	add("a number in hex", parse, before(`"id":1`, `"id":0x10`))
	add("a comma too many", parse, before(`"id":1`, `"id":1,`))
	add("no version", request, before(`"jsonrpc":"2.0",`, ""))
	add("version 1.0", request, before(`"2.0"`, `"1.0"`))
	for _, id := range []string{`{}`, `[1]`, `1e400`, `1.5`, `true`, `"` + strings.Repeat("x", 257) + `"`, `"` + strings.Repeat("x", 1<<20) + `"`, strings.Repeat("1", 1<<20)} {
		add(fmt.Sprintf("id %.8s, %d bytes", id, len(id)), request, before(`"id":1`, `"id":`+id))
	}
	add("id null", request, before(`"id":1`, `"id":null`))
	add("the method twice", request, before(`"method"`, `"method":"daemon.ping","method"`))
	add("the method twice, by an escape", request, before(`"method"`, `"\u006dethod":"daemon.ping","method"`))
	add("the id twice", request, before(`"id":1`, `"id":1,"id":2`))
	add("the params twice", request, before(`"params"`, `"params":{},"params"`))
	add("a name twice, deep in the params", request, before(`"names"`, `"names":["api"],"names"`))
	add("METHOD", request, before(`"method"`, `"METHOD"`))
	add("method and METHOD", request, before(`"method"`, `"METHOD":"daemon.ping","method"`))
	add("Params", request, before(`"params"`, `"Params"`))
	add("a member that is none", request, before(`"id":1`, `"id":1,"auth":"admin"`))
	add("a call and an answer", request, before(`"id":1`, `"id":1,"result":1`))
	add("a batch of none", request, func(message) string { return "[]" })
	add("a batch of one", request, func(m message) string { return "[" + m.String() + "]" })
	add("a batch of 100 000", request, func(message) string { return "[1" + strings.Repeat(",1", 100_000) + "]" })
	for _, n := range []int{64, 1000, 10_000, 100_000} {
		add(fmt.Sprintf("%d levels", n+1), request, before(`"names":`, `"x":`+deep(n)+`,"names":`))
	}

	// What is good JSON-RPC and no call.
	call := func(name, want string, over func(m message) message, mcp string) {
		r := row{section: section, name: name}
		for _, p := range []plane{unix, tcp} {
			r.cells[p] = &cell{func(w *world) string { return w.say(p, over(message{"apps.restart", effect}).String()) }, want}
		}
		if mcp != "" {
			r.cells[agents] = &cell{func(w *world) string {
				return w.raw(w.post(endpoint, w.good, over(message{"tools/call", tool}).String(), standard...))
			}, mcp}
		}
		all = append(all, r)
	}
	params := func(from, to string) func(m message) message {
		return func(m message) message { m.params = strings.Replace(m.params, from, to, 1); return m }
	}
	const input = "invalid/input"
	call("a field that is none", input, params(`"names":`, `"force":true,"names":`), "200 "+input)
	call("Names", input, params(`"names"`, `"Names"`), "200 "+input)
	call("a number for a name", input, params(`["web"]`, `[1]`), "200 "+input)
	call("an object for a name", input, params(`["web"]`, `[{"name":"web"}]`), "200 "+input)
	call("1e999", input, params(`["web"]`, `1e999`), "200 "+input)
	call("2^53+1", input, params(`["web"]`, `9007199254740993`), "200 "+input)
	call("a word for a flag", input, params(`"names":`, `"dry_run":"yes","names":`), "200 "+input)
	call("a $ref to an address of this machine", input, params(`"names":`, `"$ref":"http://169.254.169.254/","names":`), "200 "+input)
	for _, name := range []string{"-rf", "--kubeconfig=/tmp/x", "web;reboot", "$(id)", `web\nweb`, `web\u0000`, "../../etc/passwd", `web\u202egnp`, "wеb"} {
		call("the app "+name, input, params(`["web"]`, `["`+name+`"]`), "200 "+input)
	}
	unknown := func(name, method string) {
		call(name, "-32601", func(m message) message { m.method = method; return m }, "")
	}
	unknown("a method that is none", "apps.obliterate")
	unknown("__proto__", "__proto__")
	unknown("rpc.discover", "rpc.discover")
	unknown("a control character in the method", `apps\u0000restart`)
	unknown("the hello of another plane's", `AUTH.HELLO`)
	unknown("a method of a million letters", strings.Repeat("m", 1<<20))

	all = append(all, row{section, "more than 4 MiB", [columns]*cell{
		unix: {func(w *world) string { return w.pour(unix, 5<<20) }, request}, tcp: {func(w *world) string { return w.pour(tcp, 5<<20) }, request},
		rest: {func(w *world) string { return w.raw(w.post(api, w.good, strings.Repeat(" ", 4<<20)+effect)) }, "413 limited/too_large"},
		agents: {func(w *world) string {
			return w.raw(w.post(endpoint, w.good, strings.Repeat(" ", 4<<20)+message{"tools/call", tool}.String(), standard...))
		}, "413 limited/too_large"}}},
		row{section, "256 MB", [columns]*cell{
			unix: {func(w *world) string { return w.pour(unix, 256<<20) }, request}, tcp: {func(w *world) string { return w.pour(tcp, 256<<20) }, request},
			rest:   {func(w *world) string { return w.large(api) }, "413 limited/too_large"},
			agents: {func(w *world) string { return w.large(endpoint, standard...) }, "413 limited/too_large"}}},
		row{section, "256 MB in chunks, without a length", [columns]*cell{
			rest:   {func(w *world) string { return w.chunked(api) }, "413 limited/too_large"},
			agents: {func(w *world) string { return w.chunked(endpoint, standard...) }, "413 limited/too_large"}}})

	// The same for what is no JSON-RPC.
	bodies := map[string]struct{ body, want string }{
		"a brace": {"{", "400 invalid/input"}, "something behind it": {effect + "x", "400 invalid/input"}, "two values": {effect + effect, "400 invalid/input"},
		"a BOM": {"\ufeff" + effect, "400 invalid/input"}, "bytes that are no UTF-8": {"{\"names\":[\"web\",\"\xff\"]}", "400 invalid/input"}, "half a surrogate": {`{"names":["web","\ud800"]}`, "400 invalid/input"},
		"a name twice": {`{"names":["api"],"names":["web"]}`, "400 invalid/input"}, "a name twice, by an escape": {`{"n\u0061mes":["api"],"names":["web"]}`, "400 invalid/input"},
		"NAMES": {`{"NAMES":["web"]}`, "400 invalid/input"}, "a batch": {"[" + effect + "]", "400 invalid/input"}, "65 levels": {`{"names":["web"],"x":` + deep(64) + "}", "400 invalid/input"}, "100 000 levels": {`{"names":["web"],"x":` + deep(100_000) + "}", "400 invalid/input"},
		"a field that is none": {`{"names":["web"],"force":true}`, "400 invalid/input"}, "an app that is none": {`{"names":["../../etc/passwd"]}`, "400 invalid/input"},
		"an app that there is not": {`{"names":["obliterated"]}`, "404 not_found/app_unknown"},
	}
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		c := bodies[name]
		all = append(all, row{"REST bodies", name, [columns]*cell{rest: {func(w *world) string { return w.raw(w.post(api, w.good, c.body)) }, c.want}}})
	}
	return all
}

// say sends a line, names its answer, and looks whether the connection goes on.
func (w *world) say(p plane, text string) string {
	c := w.open(p)
	defer c.Close()
	got := c.ask(text)
	if after := c.ask(ping); after != "granted" {
		return got + ", then " + after
	}
	return got
}

// pour sends a line that does not end.
func (w *world) pour(p plane, n int64) string {
	c := w.open(p)
	defer c.Close()
	sent := make(chan struct{})
	go func() { // it ends with the connection
		defer close(sent)
		_, _ = io.Copy(c.Conn, io.LimitReader(blank{}, n))
	}()
	got := c.hear()
	_ = c.Close()
	<-sent
	return got
}

type blank struct{}

func (blank) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func (w *world) large(path string, headers ...string) string {
	return w.from(io.MultiReader(strings.NewReader(w.request("POST", path, w.good, 256<<20, headers...)), io.LimitReader(blank{}, 256<<20)))
}

func (w *world) chunked(path string, headers ...string) string {
	head := w.request("POST", path, w.good, -1, append(headers, "Transfer-Encoding", "chunked")...)
	return w.from(io.MultiReader(strings.NewReader(head+"10000000\r\n"), io.LimitReader(blank{}, 256<<20)))
}

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
	for name, want := range map[string]string{"apps_restart": "403 denied/role", "users_create": "403 denied/role", "apps_obliterate": "400 -32602"} {
		add("the tool "+name+", by a viewer", want, func(w *world) string {
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
