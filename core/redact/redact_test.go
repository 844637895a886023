package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func of(values ...string) *Matcher {
	var all [][]byte
	for _, v := range values {
		all = append(all, []byte(v))
	}
	return New(all)
}

const pem = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\nDZ7QyLk3c4Ewq0sJm1x8rVxkq0bWg6cE4jv8yQ\nabc=\n-----END KEY-----\n"

func TestForms(t *testing.T) {
	const odd = `p@ss/w"rd+<ü>&5%`
	quoted, _ := json.Marshal(odd)
	for name, text := range map[string]string{
		"raw":               odd,
		"JSON":              string(quoted),
		"JSON in JSON text": `{"msg":` + string(quoted) + `}`,
		"query":             "https://h/?p=" + url.QueryEscape(odd),
		"path":              "https://h/" + url.PathEscape(odd),
		"user info":         (&url.URL{Scheme: "postgres", User: url.UserPassword("u", odd), Host: "h"}).String(),
		"lower case hex":    strings.NewReplacer("%2F", "%2f", "%2B", "%2b", "%3C", "%3c", "%3E", "%3e", "%C3", "%c3", "%BC", "%bc").Replace(url.QueryEscape(odd)),
		"base64":            base64.StdEncoding.EncodeToString([]byte(odd)),
		"base64 for URLs":   base64.RawURLEncoding.EncodeToString([]byte(odd)),
		"basic auth":        "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+odd)),
		"basic auth, moved": base64.StdEncoding.EncodeToString([]byte("us:" + odd + ":x")),
		"basic auth, again": base64.StdEncoding.EncodeToString([]byte("u:" + odd + "yy")),
		"python":            `"p@ss/w\"rd+<\u00fc>&5%"`,
		"slashes escaped":   `"p@ss\/w\"rd+<ü>&5%"`,
	} {
		got := of(odd).String("before " + text + " after")
		if !strings.Contains(got, Mark) || !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
			t.Errorf("%s: %q became %q", name, text, got)
		}
		for n := 6; n <= len(odd); n++ { // no part of it is left
			if part := odd[n-6 : n]; strings.Contains(got, part) {
				t.Errorf("%s: %q is left of %q", name, part, got)
			}
		}
	}
}

func TestLines(t *testing.T) {
	m := of(pem)
	got := m.String("x\n" + pem + "y\n")
	if strings.Contains(got, "MII") || strings.Contains(got, "abc=") || strings.Count(got, "\n") != 7 {
		t.Errorf("the whole: %q", got)
	}
	for line := range strings.Lines(pem) {
		line = strings.TrimSpace(line)
		got := m.String("a " + line + " b")
		if hidden := len(line) >= Shortest && !strings.HasPrefix(line, "-----"); hidden != (got == "a "+Mark+" b") {
			t.Errorf("a line of it: %q became %q", line, got)
		}
	}
	wrapped := base64.StdEncoding.EncodeToString([]byte(pem))
	for at := 0; at < len(wrapped); at += 76 {
		line := wrapped[at:min(at+76, len(wrapped))]
		if len(line) >= Shortest && m.String(line) != Mark {
			t.Errorf("a line of its base64 is left: %q", line)
		}
	}
}

func TestShortOnesStay(t *testing.T) {
	m := of("seven77", "eight888")
	if got := m.String("seven77 eight888 c2V2ZW43Nw=="); got != "seven77 "+Mark+" c2V2ZW43Nw==" {
		t.Errorf("got %q", got)
	}
	if New(nil) != nil || of("short").String("short") != "short" {
		t.Error("a matcher of nothing finds something")
	}
}

func TestNeighbours(t *testing.T) {
	m := of("password1", "word1word1", "aaaaaaaa")
	for text, want := range map[string]string{
		"password1word1":          Mark, // two that overlap
		"password1password1":      Mark,
		"password1 password1":     Mark + " " + Mark,
		"passwordpassword1":       "password" + Mark,
		"aaaaaaaaaaa":             Mark,
		"aaaaaaa":                 "aaaaaaa",
		"password":                "password",
		strings.Repeat("x", 5000): strings.Repeat("x", 5000),
	} {
		if got := m.String(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// TestAgainstSearching compares with looking for every form by itself.
func TestAgainstSearching(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		values := rapid.SliceOfN(rapid.StringMatching(`[ab]{8,14}`), 1, 4).Draw(rt, "values")
		text := rapid.StringMatching(`[ab\n]{0,80}`).Draw(rt, "text")
		hidden := make([]bool, len(text))
		for _, v := range values {
			for at := 0; at+len(v) <= len(text); at++ {
				if text[at:at+len(v)] == v {
					for i := range v {
						hidden[at+i] = true
					}
				}
			}
		}
		got := make([]bool, len(text))
		for _, s := range of(values...).Spans([]byte(text)) {
			for i := s.Off; i < s.End; i++ {
				got[i] = true
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(hidden) {
			rt.Fatalf("%q in %q: %v, want %v", values, text, got, hidden)
		}
	})
}

func TestEnding(t *testing.T) {
	m := of("password1", "the-other-one")
	for text, want := range map[string]int{"x passw": 2, "x pass": 2, "x pas": -1, "the-other-on": 0, "password1": 0, "": -1, "x password1 the-": 12} {
		got := -1
		if s, ok := m.Ending([]byte(text)); ok {
			got = s.Off
		}
		if got != want {
			t.Errorf("%q: the ending begins at %d, want %d", text, got, want)
		}
	}
}

func TestLive(t *testing.T) {
	var values [][]byte
	l := NewLive(func() [][]byte { return values })
	if got := l.String("password1"); got != "password1" {
		t.Errorf("got %q", got)
	}
	values = append(values, []byte("password1"))
	l.Stale()
	if got := l.String("password1"); got != Mark {
		t.Errorf("got %q", got)
	}
	var none *Live
	if got := none.String("password1"); got != "password1" {
		t.Errorf("got %q", got)
	}
}

func FuzzSpans(f *testing.F) {
	m := of("password1", `a"b\c/d&e`, pem)
	f.Add([]byte("password1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		last := 0
		for _, s := range m.Spans(text) {
			if s.Off < last || s.End <= s.Off || s.End > len(text) {
				t.Fatalf("%q: %v", text, s)
			}
			last = s.End
		}
		if out := m.Bytes(text); bytes.Contains(out, []byte("password1")) || bytes.Count(out, []byte("\n")) != bytes.Count(text, []byte("\n")) {
			t.Fatalf("%q became %q", text, out)
		}
	})
}

func BenchmarkSpans(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	var text bytes.Buffer
	for text.Len() < 1<<20 {
		fmt.Fprintf(&text, "2026-01-02T03:04:05.678Z INFO request id=%08x path=/api/v1/items/%d status=200 took=%dms\n", random.Uint32(), random.IntN(1e6), random.IntN(500))
	}
	for _, n := range []int{1, 20, 200} {
		var values [][]byte
		for range n {
			values = append(values, fmt.Appendf(nil, "%016x%08x", random.Uint64(), random.Uint32()))
		}
		b.Run(fmt.Sprintf("secrets=%d", n), func(b *testing.B) {
			m := New(values)
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				m.Spans(text.Bytes())
			}
		})
	}
}

func TestJSON(t *testing.T) {
	m := of("password1", `a"b\c/d&e`)
	for text, want := range map[string]string{
		`{"a":"x password1","password1":1}`:            `{"a":"x [redacted]","password1":1}`,
		`{"password1" : "password1"}`:                  `{"password1" : "[redacted]"}`,
		`["a\"b\\c/d\u0026e",12345678]`:                `["[redacted]",12345678]`,
		`{"log":"{\"p\":\"a\\\"b\\\\c/d&e\"}"}`:        `{"log":"{\"p\":\"[redacted]\"}"}`,
		`{"a":"nothing","b":[true,null,"\\"],"c":"x"}`: `{"a":"nothing","b":[true,null,"\\"],"c":"x"}`,
	} {
		got, hit := m.JSON([]byte(text))
		if string(got) != want || hit != (text != want) {
			t.Errorf("%s became %s (%v), want %s", text, got, hit, want)
		}
	}
}
