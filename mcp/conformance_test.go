package mcp

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// What differs from run to run.
var scrubs = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}`), "CALL"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`"digest":"[0-9a-f]+"`), `"digest":"DIGEST"`},
	{regexp.MustCompile(`\\"digest\\":\\"[0-9a-f]+\\"`), `\"digest\":\"DIGEST\"`},
	{regexp.MustCompile(`"requestState":"[^"]+"`), `"requestState":"STATE"`},
}

// TestConformance plays files of client lines and compares what the server says with the file's server lines. A request
// is sent when the one before it was answered; what must not be answered is followed by a ping.
func TestConformance(t *testing.T) {
	files, err := filepath.Glob("testdata/conformance/*.txtar")
	if err != nil || len(files) < 6 {
		t.Fatalf("the goldens are missing: %v %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			p := newBed(t).peer(t)
			for _, l := range strings.Split(strings.TrimSuffix(string(ar.Files[0].Data), "\n"), "\n") {
				p.send(l)
				p.transcribe(l, &got)
			}
			want := &ar.Files[1]
			if *update {
				want.Data = got.Bytes()
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(strings.Split(string(want.Data), "\n"), strings.Split(got.String(), "\n")); d != "" {
				t.Errorf("the server's lines differ (-want +got):\n%s", d)
			}
		})
	}
}

// transcribe writes down what the server says to one line.
func (p *peer) transcribe(l string, to *bytes.Buffer) {
	p.tb.Helper()
	var m struct {
		ID     json.RawMessage
		Method any
	}
	ok := json.Unmarshal([]byte(l), &m) == nil
	if method, _ := m.Method.(string); ok && m.ID == nil && method != "" {
		p.send(`{"jsonrpc":"2.0","id":"sync","method":"ping"}`)
		m.ID = json.RawMessage(`"sync"`)
	}
	for {
		line := p.next()
		r := parseReply(p.tb, line)
		synced := string(r.ID) == `"sync"`
		if !synced {
			for _, s := range scrubs {
				line = s.re.ReplaceAllString(line, s.to)
			}
			to.WriteString(line + "\n")
		}
		if r.Method == "" && (!ok || m.ID == nil || synced || string(r.ID) == string(m.ID) || r.ID == nil || string(r.ID) == "null") {
			return
		}
	}
}

// TestGarbage sends what no client should: each line has one answer, the connection goes on, and memory does not grow.
func TestGarbage(t *testing.T) {
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	p := newBed(t).peer(t)
	p.send(hello(""))
	p.next()
	for name, c := range map[string]struct {
		line string
		code int
	}{
		"no json":            {`hello`, -32700},
		"half a message":     {`{"jsonrpc":"2.0","id":1,"meth`, -32700},
		"bad utf-8":          {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\xff\"}", -32700},
		"half a surrogate":   {`{"jsonrpc":"2.0","id":1,"method":"\ud800"}`, -32700},
		"batch":              {`[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]`, -32600},
		"a number":           {`5`, -32600},
		"method 5":           {`{"jsonrpc":"2.0","id":1,"method":5}`, -32600},
		"no method":          {`{"jsonrpc":"2.0","id":1}`, -32600},
		"no version":         {`{"id":1,"method":"ping"}`, -32600},
		"id an object":       {`{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}`, -32600},
		"id null":            {`{"jsonrpc":"2.0","id":null,"method":"ping"}`, -32600},
		"key twice":          {`{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, -32600},
		"key twice, deep":    {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_get","arguments":{"name":"a","name":"b"}}}`, -32600},
		"too deep":           {`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":` + deep + `}}`, -32600},
		"arguments a list":   {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_list","arguments":[1,2]}}`, -32602},
		"arguments a string": {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_list","arguments":"{}"}}`, -32602},
		"no tool name":       {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`, -32602},
		"no params":          {`{"jsonrpc":"2.0","id":1,"method":"tools/call"}`, -32602},
		"unknown tool":       {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"apps_lst"}}`, -32602},
		"unknown method":     {`{"jsonrpc":"2.0","id":1,"method":"apps/list"}`, -32601},
		"native method":      {`{"jsonrpc":"2.0","id":1,"method":"apps.list"}`, -32601},
		"params a list":      {`{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":[]}`, -32602},
	} {
		p.send(c.line)
		r := p.reply()
		if r.Error == nil || r.Error.Code != c.code {
			t.Errorf("%s: want %d, got %.300s", name, c.code, r.line)
		}
	}
	p.send(`{"jsonrpc":"2.0","id":2,"method":"ping"}`)
	if r := p.reply(); string(r.ID) != "2" || r.Error != nil {
		t.Errorf("the connection is out of step: %s", r.line)
	}
}

// TestLongLine sends 64 MB without a newline: one answer, then the end, and no memory for it.
func TestLongLine(t *testing.T) {
	p := newBed(t).peer(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go func() {
		chunk := bytes.Repeat([]byte("x"), 1<<20)
		for range 64 {
			if _, err := p.c.Write(chunk); err != nil {
				return // cut off, as it should be
			}
		}
	}()
	if r := p.reply(); r.Error == nil || r.Error.Code != -32600 {
		t.Errorf("want -32600, got %.200s", r.line)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if _, err := p.in.ReadString('\n'); err == nil {
		t.Error("the connection goes on after a line without end")
	}
}
