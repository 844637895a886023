package mcp

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/mcp/answer"
	"github.com/omnitron-dev/omnitron/mcp/object"
	"github.com/omnitron-dev/omnitron/tools/schema"
)

// fits checks structured content against the output schema of a tool.
func (b *testbed) fits(t *testing.T, id string, content json.RawMessage) []fault.Problem {
	t.Helper()
	m := b.methods[id]
	if !m.Stream {
		if object.Get(object.Get(m.OutSchema, "properties"), "truncated") == nil { // this plane adds it
			content, _ = object.Delete(content, "truncated")
		}
		return m.Fits(content)
	}
	s, err := schema.For(reflect.TypeFor[line]())
	if err != nil {
		t.Fatal(err)
	}
	return s.List().Fits(content)
}

// TestFits calls every tool so that it succeeds, fails and has to be cut: what is structured fits the schema, what fails is
// not structured, nothing is over the bound.
func TestFits(t *testing.T) {
	b := newBed(t)
	b.world.began = make(chan string, 1)
	p := b.peer(t)
	p.send(hello(`{"profile":"full"}`))
	p.next()
	type want struct{ args, how string } // ok, fault, cut (a part with a link), paged (a smaller page)
	cases := map[string][]want{
		"apps_list":   {{`{}`, "ok"}, {`{"limit":1}`, "ok"}, {`{"limit":0}`, "fault"}, {`{"limt":1}`, "fault"}, {`{"many":1000,"limit":1000,"size":100}`, "paged"}, {`{"many":3,"size":30000}`, "cut"}},
		"apps_get":    {{`{"name":"web"}`, "ok"}, {`{"name":"nope"}`, "fault"}},
		"apps_env":    {{`{"name":"web"}`, "ok"}, {`{}`, "fault"}},
		"apps_start":  {{`{"names":["web"]}`, "ok"}, {`{"names":["nope"]}`, "fault"}, {`{"names":["web"],"dry_run":true}`, "ok"}},
		"apps_stop":   {{`{"names":["web"]}`, "ok"}, {`{"names":["web"],"confirm":"nope"}`, "fault"}},
		"apps_purge":  {{`{"names":["web"]}`, "ok"}, {`{"names":[1]}`, "fault"}},
		"apps_note":   {{`{}`, "ok"}, {`{"x":1}`, "fault"}, {`{"idempotency_key":"k"}`, "ok"}},
		"apps_big":    {{`{}`, "ok"}, {`{"text":-1}`, "ok"}, {`{"text":100000}`, "cut"}, {`{"parts":20000}`, "cut"}, {`{"extra":9000}`, "cut"}, {`{"text":90000,"parts":9000,"extra":9000}`, "cut"}, {`{"text":1000000}`, "cut"}},
		"apps_fail":   {{`{"code":"conflict"}`, "fault"}, {`{"code":"failed","size":60000}`, "fault"}, {`{"code":"panic"}`, "fault"}},
		"apps_follow": {{`{"count":3}`, "ok"}, {`{"count":500,"size":200,"max_items":500}`, "ok"}, {`{"count":2,"size":60000}`, "cut"}, {`{"max_seconds":1}`, "ok"}, {`{"max_seconds":99}`, "fault"}},
	}
	for name := range b.surfaces[surfaceKey(b, "full")].tools {
		if cases[name] == nil && name != "apps_wait" && name != "apps_environment" {
			t.Errorf("%s is not tried", name)
		}
	}
	for name, list := range cases {
		id := strings.Replace(name, "_", ".", 1)
		for _, w := range list {
			p.send(call(1, name, w.args))
			r := p.reply()
			what := fmt.Sprintf("%s %s: %.400s", name, w.args, r.line)
			if len(r.line) > answer.MaxBytes {
				t.Errorf("%d bytes: %s", len(r.line), what)
			}
			if w.how == "fault" {
				var f fault.Error
				if !r.Result.IsError || r.Result.StructuredContent != nil || json.Unmarshal(r.Result.Meta[MetaError], &f) != nil || f.Code == "" ||
					!strings.HasPrefix(r.Result.Content[0].Text, string(f.Code)+": ") {
					t.Errorf("no fault: %s", what)
				}
				continue
			}
			if r.Result.IsError || r.Error != nil || r.Result.Content[0].Text == "" {
				t.Errorf("no success: %s", what)
				continue
			}
			if bad := b.fits(t, id, r.Result.StructuredContent); len(bad) > 0 {
				t.Errorf("does not fit, %+v: %s", bad, what)
			}
			linked := len(r.Result.Content) == 2 && r.Result.Content[1].Type == "resource_link"
			if linked != (w.how == "cut") {
				t.Errorf("link %t: %s", linked, what)
			}
			var l struct{ Truncated bool }
			if _ = json.Unmarshal(r.Result.StructuredContent, &l); w.how != "ok" && !l.Truncated {
				t.Errorf("not truncated: %s", what)
			}
			if kind := object.Get(object.Get(object.Get(b.methods[id].Output, "properties"), "truncated"), "type"); string(kind) != `"boolean"` {
				t.Errorf("%s: its schema has no truncated", name)
			}
		}
	}
}

func surfaceKey(b *testbed, profile string) string {
	for k, f := range b.surfaces {
		if f.profile == profile && len(f.tools) > 0 {
			return k
		}
	}
	return ""
}

// TestWalk follows the cursor of a list whose pages do not fit: every item once.
func TestWalk(t *testing.T) {
	p := newBed(t).peer(t)
	cursor, seen, pages := "", 0, 0
	for {
		p.send(call(1, "apps_list", fmt.Sprintf(`{"many":1000,"limit":1000,"size":150,"cursor":%q}`, cursor)))
		r := p.reply()
		var l struct {
			Items      []app
			NextCursor string `json:"next_cursor"`
			Truncated  bool
		}
		if err := json.Unmarshal(r.Result.StructuredContent, &l); err != nil || len(l.Items) == 0 {
			t.Fatalf("%v: %.300s", err, r.line)
		}
		for _, a := range l.Items {
			if a.Name != fmt.Sprint("app", seen) {
				t.Fatalf("item %d is %s", seen, a.Name)
			}
			seen++
		}
		if pages++; !l.Truncated {
			break
		}
		cursor = l.NextCursor
	}
	if seen != 1000 || pages < 5 || pages > 25 {
		t.Errorf("%d items in %d pages", seen, pages)
	}
}

// TestResults reads the whole of a cut answer, part by part, and nobody else's.
func TestResults(t *testing.T) {
	b := newBed(t)
	p := b.peer(t)
	p.send(call(1, "ops_read", `{"method":"apps.big","input":{"text":100000}}`))
	r := p.reply()
	if len(r.Result.Content) != 2 {
		t.Fatalf("no link: %.300s", r.line)
	}
	var whole strings.Builder
	uri := r.Result.Content[1].URI
	first := uri
	for parts := 0; uri != "" && parts < 20; parts++ {
		p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":%q}}`, uri))
		r := p.reply()
		if r.Error != nil || len(r.Result.Contents) != 1 {
			t.Fatalf("%.300s", r.line)
		}
		if n := len(r.line); n > answer.MaxBytes {
			t.Errorf("a part of %d bytes", n)
		}
		whole.WriteString(r.Result.Contents[0].Text)
		uri, _ = r.Result.Contents[0].Meta["omnitron/next"].(string)
	}
	var got blob
	if err := json.Unmarshal([]byte(whole.String()), &got); err != nil || got.Text != strings.Repeat("ä", 50000) {
		t.Errorf("the parts are not the whole: %v, %d bytes", err, whole.Len())
	}
	other := b.peer(t)
	other.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":%q}}`, first))
	if r := other.reply(); r.Error == nil || r.Error.Code != codeNoResource {
		t.Errorf("another connection reads it: %.300s", r.line)
	}
	for range keepResults {
		p.send(call(1, "ops_read", `{"method":"apps.big","input":{"text":100000}}`))
		p.next()
	}
	p.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"resources/read","params":{"uri":%q}}`, first))
	if r := p.reply(); r.Error == nil {
		t.Errorf("the oldest is kept for ever")
	}
}

// TestVisible: nothing in an answer hides, turns or colours text; the value is the one that was given.
func TestVisible(t *testing.T) {
	p := newBed(t).peer(t)
	p.send(call(1, "apps_get", `{"name":"web"}`))
	l := p.next()
	for _, bad := range []string{"\u202e", "\u200b", "\x1b", "\U000e0041"} {
		if strings.Contains(l, bad) {
			t.Errorf("%q is in the answer", bad)
		}
	}
	r := parseReply(t, l)
	for _, bad := range []string{"\u202e", "\u200b", "\x1b", "\U000e0041"} {
		if strings.Contains(r.Result.Content[0].Text, bad) {
			t.Errorf("%q is in the text", bad)
		}
	}
	var got app
	if err := json.Unmarshal(r.Result.StructuredContent, &got); err != nil || got.Note != "plain \u202e\u200b\x1b[31m\U000e0041 text" {
		t.Errorf("the value has changed: %q", got.Note)
	}
}

// TestResultsBound: what is kept is bounded in bytes too.
func TestResultsBound(t *testing.T) {
	var s results
	first := s.keep(make([]byte, keepBytes/2))
	s.keep(make([]byte, keepBytes/2+1))
	if _, err := s.read(first); err == nil || s.bytes > keepBytes {
		t.Errorf("%d bytes are kept", s.bytes)
	}
	huge := s.keep(make([]byte, 2*keepBytes))
	if _, err := s.read(huge); err != nil || s.bytes > keepBytes {
		t.Errorf("%v, %d bytes are kept", err, s.bytes)
	}
}
