package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParse(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, line string
		code       int    // 0: good
		id         string // of the message that is given back
		method     string
	}{
		{"request", `{"jsonrpc":"2.0","id":1,"method":"apps.list"}`, 0, "1", "apps.list"},
		{"id last", `{"method":"apps.list","params":{"a":[1,2.5e-3,"x\n",null,true]},"jsonrpc":"2.0","id":"z"}`, 0, `"z"`, "apps.list"},
		{"spaces", " \t{ \"jsonrpc\" : \"2.0\" , \"id\" : 1 , \"method\" : \"a.b\" } \r", 0, "1", "a.b"},
		{"escaped name", `{"jsonrpc":"2.0","\u0069d":7,"method":"a.b"}`, 0, "7", "a.b"},
		{"escaped method", `{"jsonrpc":"2.0","id":7,"method":"a\u002eb\ud83d\ude00"}`, 0, "7", "a.b😀"},
		{"big id stays as it is", `{"jsonrpc":"2.0","id":9007199254740993,"method":"a.b"}`, 0, "9007199254740993", "a.b"},
		{"notification", `{"jsonrpc":"2.0","method":"$/cancel","params":{"id":1}}`, 0, "", "$/cancel"},
		{"answer", `{"jsonrpc":"2.0","id":1,"result":null}`, 0, "1", ""},
		{"error without id", `{"jsonrpc":"2.0","id":null,"error":{}}`, 0, "", ""},
		{"depth at the limit", `{"jsonrpc":"2.0","id":1,"method":"a.b","params":` + deep(63) + `}`, 0, "1", "a.b"},
		{"id at the limit", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 256) + `","method":"a.b"}`, 0, `"` + strings.Repeat("x", 256) + `"`, "a.b"},

		{"empty", "", CodeParse, "", ""},
		{"blank", "  \t", CodeParse, "", ""},
		{"open brace", "{", CodeParse, "", ""},
		{"half", `{"jsonrpc":"2.0","id":1,"met`, CodeParse, "", ""},
		{"two values", `{"jsonrpc":"2.0","id":1,"method":"a.b"}{}`, CodeParse, "", ""},
		{"trailing", `{"jsonrpc":"2.0","id":1,"method":"a.b"} x`, CodeParse, "", ""},
		{"bom", "\ufeff" + `{"jsonrpc":"2.0","id":1,"method":"a.b"}`, CodeParse, "", ""},
		{"utf-16", "{\x00\"\x00", CodeParse, "", ""},
		{"bad utf-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\xff\"}", CodeParse, "", ""},
		{"lone high surrogate", `{"jsonrpc":"2.0","id":1,"method":"\ud800"}`, CodeParse, "", ""},
		{"high surrogate twice", `{"jsonrpc":"2.0","id":1,"method":"\ud800\ud800"}`, CodeParse, "", ""},
		{"lone low surrogate", `{"jsonrpc":"2.0","id":1,"method":"\udc00x"}`, CodeParse, "", ""},
		{"control character", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\x01\"}", CodeParse, "", ""},
		{"hex number", `{"jsonrpc":"2.0","id":0x10,"method":"a.b"}`, CodeParse, "", ""},
		{"leading zero", `{"jsonrpc":"2.0","id":01,"method":"a.b"}`, CodeParse, "", ""},
		{"trailing comma", `{"jsonrpc":"2.0","id":1,"method":"a.b",}`, CodeParse, "", ""},
		{"word", `nul`, CodeParse, "", ""},
		{"bad escape", `{"jsonrpc":"2.0","id":1,"method":"\x41"}`, CodeParse, "", ""},
		{"deep and unclosed", strings.Repeat("[", 100_000), CodeParse, "", ""},

		{"number", `5`, CodeInvalidRequest, "", ""},
		{"empty batch", `[]`, CodeInvalidRequest, "", ""},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"a.b"}]`, CodeInvalidRequest, "", ""},
		{"large batch", "[1" + strings.Repeat(",1", 100_000) + "]", CodeInvalidRequest, "", ""},
		{"no version", `{"id":1,"method":"a.b"}`, CodeInvalidRequest, "1", "a.b"},
		{"old version", `{"jsonrpc":"1.0","id":1,"method":"a.b"}`, CodeInvalidRequest, "1", "a.b"},
		{"id object", `{"jsonrpc":"2.0","id":{},"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id array", `{"jsonrpc":"2.0","id":[1],"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id null", `{"jsonrpc":"2.0","id":null,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id true", `{"jsonrpc":"2.0","id":true,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id float", `{"jsonrpc":"2.0","id":1.5,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id huge", `{"jsonrpc":"2.0","id":1e400,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id long", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 257) + `","method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"id of a million digits", `{"jsonrpc":"2.0","id":` + strings.Repeat("1", 1_000_000) + `,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"method number", `{"jsonrpc":"2.0","id":1,"method":5}`, CodeInvalidRequest, "1", ""},
		{"method empty", `{"jsonrpc":"2.0","id":1,"method":""}`, CodeInvalidRequest, "1", ""},
		{"method missing", `{"jsonrpc":"2.0","id":1}`, CodeInvalidRequest, "1", ""},
		{"method case", `{"jsonrpc":"2.0","id":1,"METHOD":"a.b"}`, CodeInvalidRequest, "1", ""},
		{"id case", `{"jsonrpc":"2.0","Id":1,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"unknown member", `{"jsonrpc":"2.0","id":1,"method":"a.b","extra":1}`, CodeInvalidRequest, "1", "a.b"},
		{"request and answer", `{"jsonrpc":"2.0","id":1,"method":"a.b","result":1}`, CodeInvalidRequest, "1", "a.b"},
		{"result and error", `{"jsonrpc":"2.0","id":1,"result":1,"error":{}}`, CodeInvalidRequest, "1", ""},
		{"answer without id", `{"jsonrpc":"2.0","result":1}`, CodeInvalidRequest, "", ""},
		{"method twice", `{"jsonrpc":"2.0","id":1,"method":"tools.list","method":"secret.read"}`, CodeInvalidRequest, "", "secret.read"},
		{"id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"a.b"}`, CodeInvalidRequest, "", "a.b"},
		{"name twice in params", `{"jsonrpc":"2.0","id":1,"method":"a.b","params":{"x":[{"n":1,"m":2,"n":3}]}}`, CodeInvalidRequest, "", "a.b"},
		{"name twice by escape", `{"jsonrpc":"2.0","id":1,"method":"a.b","params":{"name":1,"n\u0061me":2}}`, CodeInvalidRequest, "", "a.b"},
		{"name twice among many", `{"jsonrpc":"2.0","id":1,"method":"a.b","params":{` + names(40) + `,"n7":1}}`, CodeInvalidRequest, "", "a.b"},
		{"too many names", `{"jsonrpc":"2.0","id":1,"method":"a.b","params":{` + names(MaxMembers+1) + `}}`, CodeInvalidRequest, "1", "a.b"},
		{"depth 65", `{"jsonrpc":"2.0","id":1,"method":"a.b","params":` + deep(64) + `}`, CodeInvalidRequest, "1", "a.b"},
		{"depth 100000, id behind", `{"jsonrpc":"2.0","method":"a.b","params":` + deep(100_000) + `,"id":"late"}`, CodeInvalidRequest, `"late"`, "a.b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Parser
			m, bad := p.Parse([]byte(c.line))
			code := 0
			if bad != nil {
				code = bad.Code
				if bad.Message == "" || len(bad.Message) > 200 {
					t.Errorf("message %.300q", bad.Message)
				}
			}
			if code != c.code || string(m.ID) != c.id || m.Method != c.method {
				t.Errorf("got %d id %q method %q, want %d %q %q (%v)", code, m.ID, m.Method, c.code, c.id, c.method, bad)
			}
			if again, bad2 := p.Parse([]byte(c.line)); (bad == nil) != (bad2 == nil) || !bytes.Equal(again.ID, m.ID) {
				t.Errorf("a second look differs: %v, %v", bad, bad2)
			}
		})
	}
}

func names(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"n` + itoa(i) + `":0`)
	}
	return b.String()
}

func itoa(n int) string { return string(json.RawMessage(mustJSON(n))) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// FuzzEnvelope holds the parser against encoding/json, which is what handlers read with: what is accepted is valid,
// and every reader of it sees the same method, id and params.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"apps.list","params":{"a":[1,{"b":null}]}}`,
		`{"jsonrpc":"2.0","id":"\u0061","method":"a\ud83d\ude00"}`,
		`{"jsonrpc":"2.0","id":-0,"result":{"a":1e9,"a":2}}`,
		`{"jsonrpc":"2.0","METHOD":"x","id":1}`, `[[[[]]]]`, "{\"\x00\":1}", `{"a":"\ud800"}`, `{"\u0000":0,"\u0000":0}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var p Parser
		m, bad := p.Parse(line)
		if bad != nil {
			if bad.Code != CodeParse && bad.Code != CodeInvalidRequest {
				t.Fatalf("code %d", bad.Code)
			}
			if bad.Code == CodeInvalidRequest && !json.Valid(line) && !p.s.deep {
				t.Fatalf("taken for JSON: %q", line)
			}
			return
		}
		if !json.Valid(line) {
			t.Fatalf("accepted, but no JSON: %q", line)
		}
		var std struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(line, &std); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", line, err)
		}
		id := std.ID
		if string(id) == "null" {
			id = nil
		}
		if len(m.Method) > MaxMethod {
			m.Method, std.Method = "", "" // cut
		}
		if m.Method != std.Method || !bytes.Equal(m.ID, id) || !bytes.Equal(m.Params, std.Params) {
			t.Fatalf("%q: we see %q %q %q, encoding/json sees %q %q %q", line, m.Method, m.ID, m.Params, std.Method, id, std.Params)
		}
		var generic map[string]json.RawMessage
		if err := json.Unmarshal(line, &generic); err != nil {
			t.Fatal(err)
		}
		for name := range generic {
			switch name {
			case "jsonrpc", "id", "method", "params", "result", "error":
			default:
				t.Fatalf("member %q was let through", name)
			}
		}
	})
}

// FuzzFrame cuts input at every place the source likes to: the lines are those that a split gives, and no line is
// longer than the limit.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("a\nbb\n\nccc"), 4, uint8(1))
	f.Add([]byte("\n\n\n"), 1, uint8(3))
	f.Add(bytes.Repeat([]byte("x"), 100), 10, uint8(7))
	f.Add(append(bytes.Repeat([]byte("y"), firstBuffer+3), '\n', 'z'), 2*firstBuffer, uint8(255))
	f.Fuzz(func(t *testing.T, data []byte, limit int, step uint8) {
		if limit < 1 || limit > 1<<16 {
			return
		}
		var src io.Reader = bytes.NewReader(data)
		if step == 0 {
			src = iotest.OneByteReader(src)
		} else {
			src = &stepper{src, int(step)}
		}
		r := NewReader(src, limit)
		want := bytes.Split(data, []byte("\n"))
		for i, w := range want {
			last := i == len(want)-1
			got, err := r.Next()
			switch {
			case len(w) > limit:
				if !errors.Is(err, ErrTooLong) {
					t.Fatalf("line %d of %d bytes: %v", i, len(w), err)
				}
				return
			case last && len(w) == 0:
				if !errors.Is(err, io.EOF) {
					t.Fatalf("end: %q, %v", got, err)
				}
				return
			case err != nil || !bytes.Equal(got, w):
				t.Fatalf("line %d: got %q, %v, want %q", i, got, err, w)
			}
			if cap(r.buf) > max(firstBuffer, limit+firstBuffer) {
				t.Fatalf("buffer of %d bytes for a limit of %d", cap(r.buf), limit)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("end: %v", err)
		}
	})
}

type stepper struct {
	src  io.Reader
	step int
}

func (s *stepper) Read(b []byte) (int, error) { return s.src.Read(b[:min(len(b), s.step)]) }

func TestReaderRest(t *testing.T) {
	r := NewReader(strings.NewReader("one\ntwo\nthr"), 100)
	if line, err := r.Next(); string(line) != "one" || err != nil {
		t.Fatalf("%q %v", line, err)
	}
	if rest := r.Rest(); string(rest) != "two\nthr" {
		t.Fatalf("rest %q", rest)
	}
}

// TestLongLinesLeaveNoMemory: their buffer has no pages when the line is done with, and serves the next one.
func TestLongLinesLeaveNoMemory(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	waiting := func() int {
		large.mu.Lock()
		defer large.mu.Unlock()
		for _, b := range large.free {
			if b[0] != 0 || b[len(long)-1] != 0 {
				t.Error("a buffer that waits holds a line")
			}
		}
		return len(large.free)
	}
	first := NewReader(strings.NewReader(long+"\nshort\n"+long+"\n"), MaxLine)
	if line, err := first.Next(); err != nil || string(line) != long {
		t.Fatalf("%d bytes, %v", len(line), err)
	}
	before := waiting()
	for _, want := range []string{"short", long} {
		if line, err := first.Next(); err != nil || string(line) != want {
			t.Fatalf("%d bytes of %d, %v", len(line), len(want), err)
		}
	}
	if _, err := first.Next(); err != io.EOF {
		t.Fatal(err)
	}
	if now := waiting(); now != before+1 {
		t.Errorf("%d buffers wait, want %d", now, before+1)
	}
	second := NewReader(strings.NewReader(long), MaxLine)
	if line, err := second.Next(); err != nil || string(line) != long || waiting() != before {
		t.Errorf("%d bytes, %d buffers wait, want %d, %v", len(line), waiting(), before, err)
	}
	second.Release()
	second.Release() // once more is no harm
	if now := waiting(); now != before+1 {
		t.Errorf("%d buffers wait after Release, want %d", now, before+1)
	}
}

func TestStrict(t *testing.T) {
	type inner struct {
		ReadOnly bool     `json:"read_only"`
		Sets     []string `json:"sets,omitempty"`
	}
	type outer struct {
		Token  string `json:"token"`
		Launch inner  `json:"launch"`
	}
	for raw, good := range map[string]bool{
		`{}`: true, `{"token":"a","launch":{"read_only":true,"sets":["x"]}}`: true, `{"t\u006fken":"a"}`: true, `{"launch":null}`: true,
		`{"TOKEN":"a"}`: false, `{"token":"a","Token":"b"}`: false, `{"launch":{"read_only":true,"Read_Only":false}}`: false, `{"launch":{"READ_ONLY":true}}`: false,
		`{"other":1}`: false, `{"token":1}`: false, `{"token":"a"} {}`: false, `[]`: false, `{"to\u212aen":"a"}`: false, ``: false,
	} {
		var o outer
		if err := Strict([]byte(raw), &o); (err == nil) != good {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
