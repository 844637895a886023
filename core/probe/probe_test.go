package probe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
)

func TestStep(t *testing.T) {
	rules := Rules{Retries: 3, StartPeriod: 10 * time.Second}
	type step struct {
		at   time.Duration
		ok   bool
		want Health
		tell bool
	}
	s := time.Second
	for _, c := range []struct {
		name  string
		rules Rules
		steps []step
	}{
		{"success at once", rules, []step{{s, true, Healthy, true}, {2 * s, true, Healthy, false}}},
		{"start period forgives", rules, []step{
			{s, false, Unknown, false}, {2 * s, false, Unknown, false}, {3 * s, false, Unknown, false}, {9 * s, false, Unknown, false},
			{10 * s, false, Unknown, false}, {11 * s, false, Unknown, false}, {12 * s, false, Unhealthy, true}, {13 * s, false, Unhealthy, false}}},
		{"first success ends the start period", rules, []step{
			{s, false, Unknown, false}, {2 * s, true, Healthy, true}, {3 * s, false, Healthy, false}, {4 * s, false, Healthy, false}, {5 * s, false, Unhealthy, true}}},
		{"only failures in a row count", rules, []step{
			{20 * s, true, Healthy, true}, {21 * s, false, Healthy, false}, {22 * s, false, Healthy, false}, {23 * s, true, Healthy, false},
			{24 * s, false, Healthy, false}, {25 * s, false, Healthy, false}, {26 * s, false, Unhealthy, true}, {27 * s, true, Healthy, true}, {28 * s, false, Healthy, false}}},
		{"no retries is one", Rules{}, []step{{0, false, Unhealthy, true}, {s, true, Healthy, true}, {2 * s, false, Unhealthy, true}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var st State
			for i, x := range c.steps {
				var told bool
				if st, told = Step(st, c.rules, Result{Healthy: x.ok}, x.at); st.Health != x.want || told != x.tell {
					t.Fatalf("step %d: %s, told %v, want %s, %v", i, st.Health, told, x.want, x.tell)
				}
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	var followed atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.Header().Set("Location", "/followed")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "\n  all \x1b[31mwell\u202e \n more")
	})
	mux.HandleFunc("/followed", func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	for _, c := range []struct {
		url     string
		healthy bool
		code    int
		text    string
	}{
		{"/status/200", true, 200, `200: all \x1b[31mwell\u202e`},
		{"/status/204", true, 204, "204"},
		{"/status/302", true, 302, `302: all \x1b[31mwell\u202e`},
		{"/status/404", false, 404, `404: all \x1b[31mwell\u202e`},
		{"/status/503", false, 503, `503: all \x1b[31mwell\u202e`},
		{srv.URL + "/status/200", true, 200, `200: all \x1b[31mwell\u202e`},
		{fmt.Sprintf("http://localhost:%d/status/204", port), true, 204, "204"},
		{"/endless", true, 200, "200: " + strings.Repeat("x", 251) + "…"},
		{"http://example.com/", false, 0, errElsewhere.Error()},
		{"http://169.254.169.254/latest/meta-data", false, 0, errElsewhere.Error()},
		{"http://0.0.0.0:1/", false, 0, errElsewhere.Error()},
		{"ftp://127.0.0.1/", false, 0, "the probe's URL must begin with http:// or https://"},
		{"http://127.0.0.1:1/", false, 0, "connection refused"},
		{"://", false, 0, "the probe's URL cannot be read"},
	} {
		t.Run(c.url, func(t *testing.T) {
			r := Check(t.Context(), Target{HTTP: c.url, Port: port})
			if r.Healthy != c.healthy || r.Code != c.code || r.Message != c.text || r.Duration <= 0 {
				t.Errorf("got %+v, want %+v", r, c)
			}
		})
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if r := Check(ctx, Target{HTTP: "/hang", Port: port}); r.Healthy || !strings.HasPrefix(r.Message, "no answer within ") {
		t.Errorf("got %+v", r)
	}
	if r := Check(t.Context(), Target{HTTP: "/x"}); r.Healthy || r.Message != "the port of the probe is not known" {
		t.Errorf("got %+v", r)
	}
}

func TestHTTPSWithItsOwnCertificate(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	if r := Check(t.Context(), Target{HTTP: srv.URL}); !r.Healthy || r.Code != 200 {
		t.Errorf("got %+v", r)
	}
}

// TestNamesDoNotReachOut holds the dialer to its promise even if a name were let through.
func TestNamesDoNotReachOut(t *testing.T) {
	for _, where := range []string{"192.0.2.1:80", "[2001:db8::1]:80", "0.0.0.0:80"} {
		if _, err := dialer.DialContext(t.Context(), "tcp", where); !errors.Is(err, errElsewhere) {
			t.Errorf("%s: %v", where, err)
		}
	}
}

func TestBrokenHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, "SSH-2.0-\x00\x07\n\n")
			_ = c.Close()
		}
	}()
	r := Check(t.Context(), Target{HTTP: "/", Port: l.Addr().(*net.TCPAddr).Port})
	if r.Healthy || r.Message == "" || strings.ContainsFunc(r.Message, func(c rune) bool { return !unicode.IsPrint(c) }) {
		t.Errorf("got %+v", r)
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	if r := Check(t.Context(), Target{TCP: at}); !r.Healthy {
		t.Errorf("open: %+v", r)
	}
	_ = l.Close()
	for where, text := range map[string]string{
		at:           "connection refused",
		"8.8.8.8:53": errElsewhere.Error(),
		"nonsense":   "the probe's address must be host:port",
	} {
		if r := Check(t.Context(), Target{TCP: where}); r.Healthy || r.Message != text {
			t.Errorf("%s: %+v", where, r)
		}
	}
}

func TestExec(t *testing.T) {
	run := func(code int, out string, err error) func(context.Context, []string) (int, []byte, error) {
		return func(ctx context.Context, argv []string) (int, []byte, error) {
			if len(argv) != 1 || argv[0] != "pg_isready" {
				t.Errorf("argv %q", argv)
			}
			if out == "hang" {
				<-ctx.Done()
				return 0, nil, ctx.Err()
			}
			return code, []byte(out), err
		}
	}
	for _, c := range []struct {
		code    int
		out     string
		err     error
		healthy bool
		text    string
	}{
		{0, "accepting connections\n", nil, true, "exit 0: accepting connections"},
		{0, "", nil, true, "exit 0"},
		{2, "no\tresponse\r\n", nil, false, `exit 2: no\tresponse`},
		{0, "", errors.New("no such file"), false, "cannot run the probe: no such file"},
	} {
		r := Check(t.Context(), Target{Exec: []string{"pg_isready"}, Run: run(c.code, c.out, c.err)})
		if r.Healthy != c.healthy || r.Message != c.text || r.Code != c.code {
			t.Errorf("got %+v, want %+v", r, c)
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if r := Check(ctx, Target{Exec: []string{"pg_isready"}, Run: run(0, "hang", nil)}); r.Healthy || !strings.HasPrefix(r.Message, "no answer within ") {
		t.Errorf("got %+v", r)
	}
	if r := Check(t.Context(), Target{}); r.Healthy {
		t.Errorf("got %+v", r)
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x00\u202e\xff\U000e0041…")
	f.Fuzz(func(t *testing.T, text string) {
		got := Printable(text)
		if len(got) > maxText+16 || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q became %q", text, got)
		}
	})
}
