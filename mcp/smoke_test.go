package mcp

import "testing"

func TestSmoke(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(hello(""))
	t.Log(p.next())
	for _, l := range []string{call(1, "apps_list", "{}"), call(2, "apps_get", `{"name":"web"}`), call(3, "apps_stop", `{"names":["web"]}`), modernCall(4, "apps_get", `{"nam":1}`),
		`{"jsonrpc":"2.0","id":5,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":6,"method":"resources/list"}`, `{"jsonrpc":"2.0","id":7,"method":"resources/templates/list"}`,
		`{"jsonrpc":"2.0","id":8,"method":"prompts/get","params":{"name":"debug_crash_loop","arguments":{"app":"web"}}}`, `{"jsonrpc":"2.0","id":9,"method":"nope/x"}`,
		`{"jsonrpc":"2.0","id":10,"method":"resources/read","params":{"uri":"omnitron://apps/shop/dev/web"}}`,
		call(11, "apps_follow", `{"count":3}`),
	} {
		p.send(l)
		t.Log(p.next())
	}
}
