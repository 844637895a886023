package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// FuzzQuery makes inputs of queries and of a key in a header: what comes out says what was sent, and no more.
func FuzzQuery(f *testing.F) {
	methods := toolstest.New(f).Registry.Methods()
	for _, q := range []string{
		"", "name=car", "name=1", "limit=1", "limit=one", "limit=1&limit=2", "limit=0x10", "limit=1e3", "limit=-0", "limit=%7B%22a%22%3A1%7D", "limit=true", "name=%22car%22", "name=null", "name=%ff", "a%00b=c", "name=car;limit=1",
		"name=%zz", "=", "&&", "name", "idempotency_key=x", "name=car&name=car", "names=car&names=doll", "cursor=\u2028", "name=%3Cb%3E", "__proto__=1",
	} {
		for which := range methods {
			f.Add(uint8(which), q, "")
		}
		f.Add(uint8(0), q, "key")
	}
	f.Fuzz(func(t *testing.T, which uint8, query, key string) {
		m := methods[int(which)%len(methods)]
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: apiRoot + m.Service + "/" + m.Verb, RawQuery: query}, Header: http.Header{}}
		if key != "" {
			r.Header[keyOf] = []string{key}
		}
		x := &exchange{r: r, w: &heads{http.Header{}}, path: r.URL.Path}
		raw, why := x.input(m)
		sent, err := url.ParseQuery(query)
		switch {
		case why != nil && raw != nil:
			t.Fatalf("%q is refused and taken: %s", query, raw)
		case why != nil:
			return
		case err != nil || m.Effect != op.Reads:
			t.Fatalf("%s?%q is taken: %s", m.ID(), query, raw)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(raw, &got); err != nil || len(got) > len(sent) {
			t.Fatalf("%q became %s: %v", query, raw, err)
		}
		_ = m.Problems(raw) // whatever it finds, it does not fall over
		props := properties(m)
		for name, values := range sent {
			p, known := props[name]
			if !utf8.ValidString(name) || p.Type == "array" {
				continue
			}
			var text string
			isText := json.Unmarshal(got[name], &text) == nil
			switch {
			case len(values) != 1:
				t.Fatalf("%q is there %d times and became %s", name, len(values), raw)
			case known && p.Type != "string" && bytes.Equal(got[name], compact(values[0])): // a number, or what its schema refuses
			case !isText || utf8.ValidString(values[0]) && text != values[0]:
				t.Fatalf("%q=%q became %s", name, values[0], got[name])
			}
		}
	})
}

func compact(text string) []byte {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return nil
	}
	return b.Bytes()
}

// heads takes headers, and nothing that comes after them.
type heads struct{ h http.Header }

func (w *heads) Header() http.Header         { return w.h }
func (w *heads) Write(b []byte) (int, error) { return len(b), nil }
func (w *heads) WriteHeader(int)             {}
