package attacks

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// assault is an attack on HTTP/2, and how it has to end; "*" where any end will do that leaves the daemon as it was.
type assault struct {
	name, want string
	do         func(w *world) string
	flood      bool // it is more than anybody needs, as fast as it goes
	waits      bool // it goes on for ten seconds, beside others of its kind
}

// room is by how much the daemon may grow meanwhile. What twenty thousand calls or frames in a second leave, whoever makes them, is as
// much as the collector lets come together; it has to be given back afterwards, as is what hundreds of connections and streams hold.
func (a assault) room() int64 {
	if a.flood || a.waits {
		return 3 * room
	}
	return room
}

// malformed is a request that is none for the protocol itself: its stream is reset, or the connection ends with the body of it, of
// which nobody knows what it belongs to.
const malformed = "malformed"

// as reports whether an attack has ended as it has to.
func (a assault) as(got string) bool {
	switch a.want {
	case "*":
		return got != "200" && got != "silence"
	case malformed:
		return got == "reset PROTOCOL_ERROR" || got == "goaway PROTOCOL_ERROR"
	}
	return got == a.want
}

// pseudo are requests with the effect that are not what HTTP/2 lets a request be, or that name two things where there is one.
func pseudo(w *world) (all []assault) {
	add := func(name, want string, change func(p pairs) pairs, bodies ...string) {
		body := effect
		if len(bodies) > 0 {
			body = bodies[0]
		}
		all = append(all, assault{name, want, func(w *world) string {
			f := w.dialFrames()
			defer f.Close()
			_ = f.open(1, change(w.fields(api, w.good)), body)
			return f.said(1, 15*time.Second)
		}, false, false})
	}
	with := func(more ...string) func(p pairs) pairs { return func(p pairs) pairs { return append(p, more...) } }
	over := func(name string, value ...string) func(p pairs) pairs {
		return func(p pairs) pairs { return p.over(name, value...) }
	}
	for _, name := range []string{":method", ":scheme", ":path"} {
		add("no "+name, malformed, over(name))
		add(name+" twice", malformed, func(p pairs) pairs {
			i := slices.Index(p, name)
			return p.over(name, p[i+1], p[i+1])
		})
		add(name+" empty", malformed, over(name, ""))
	}
	add(":authority twice", malformed, over(":authority", w.web, "evil.example"))
	add("another :authority", "403 denied/host", over(":authority", "evil.example"))
	add("a name in :authority", malformed, over(":authority", "a:b@"+w.web))
	add("no :authority", "403 denied/host", over(":authority"))
	add("no :authority, another host", "403 denied/host", func(p pairs) pairs { return append(p.over(":authority"), "host", "evil.example") })
	add("another host beside :authority", "400 invalid/bad_request", with("host", "evil.example"))
	add("two hosts beside :authority", "400 invalid/bad_request", with("host", w.web, "host", "evil.example"))
	add(":path behind a header", malformed, func(p pairs) pairs { return append(p.over(":path"), ":path", api) })
	add("a pseudo header that is none", malformed, func(p pairs) pairs { return append(pairs{":token", "x"}, p...) })
	add(":status in a request", malformed, func(p pairs) pairs { return append(pairs{":status", "200"}, p...) })
	add(":protocol without CONNECT", malformed, func(p pairs) pairs { return append(pairs{":protocol", "websocket"}, p...) })
	for _, h := range []string{"connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"} {
		add("the header "+h, "400", with(h, map[string]string{"transfer-encoding": "chunked", "upgrade": "h2c"}[h]))
	}
	add("te: gzip", "400", with("te", "gzip"))
	add("a header in capitals", malformed, with("X-Y", "z"))
	for _, c := range []string{"\n", "\r", "\x00"} {
		add(fmt.Sprintf("%q in a header", c), malformed, with("x", "y"+c+"authorization: Bearer x"))
		add(fmt.Sprintf("%q in a header's name", c), malformed, with("x"+c+"y", "z"))
		add(fmt.Sprintf("%q in :path", c), malformed, over(":path", api+" HTTP/1.1"+c+c+"host: evil"))
		add(fmt.Sprintf("%q in :method", c), malformed, over(":method", "POST "+api+c))
		add(fmt.Sprintf("%q in :authority", c), malformed, over(":authority", w.web+c))
	}
	add("a space in a header's name", malformed, with("x y", "z"))
	add("a colon in a header's name", malformed, with("x:y", "z"))
	add("an absolute :path", "400 invalid/bad_request", over(":path", "http://evil.example"+api))
	add(":path without a slash", malformed, over(":path", api[1:]))
	add(":path *", "*", over(":path", "*"))
	for _, path := range []string{"/" + api, "/." + api, "/x/.." + api, "/%2e%2e" + api, api + "/", api + "%00", strings.ToUpper(api)} {
		add("the path "+strings.Replace(path, api, "…", 1), "404 not_found/no_route", over(":path", path))
	}
	add(":scheme file", "*", over(":scheme", "file"))
	add("CONNECT", "405 invalid/bad_request", func(p pairs) pairs { return p.over(":scheme").over(":path").over(":method", "CONNECT") })
	add("CONNECT with a path", malformed, over(":method", "CONNECT"))
	add("TRACE", "405 invalid/bad_request", over(":method", "TRACE"))
	add("another origin", "403 denied/origin", with("origin", "https://evil.example"))
	add("two authorizations", "400 invalid/bad_request", with("authorization", "Bearer x"))
	add("a length that is too short", malformed, with("content-length", "2"))
	add("a length that is too long", "408 invalid/bad_request", with("content-length", "2000"))
	add("two lengths", "400 invalid/bad_request", with("content-length", fmt.Sprint(len(effect)), "content-length", "2"))
	add("a length that is negative", "*", with("content-length", "-1"))
	all = append(all, assault{"the token in a trailer", "*", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		_ = f.write(func(fr *http2.Framer) error {
			if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(w.fields(api, "", "trailer", "authorization")), EndHeaders: true}); err != nil {
				return err
			}
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(pairs{"authorization", "Bearer " + w.good}), EndHeaders: true, EndStream: true})
		})
		return f.said(1, 15*time.Second)
	}, false, false})
	return all
}

// broken are frames that are none, or come when they may not.
func broken(w *world) (all []assault) {
	add := func(name, want string, do func(f *frames) error) {
		all = append(all, assault{name, want, func(w *world) string {
			f := w.dialFrames()
			defer f.Close()
			_ = do(f)
			f.until(14*time.Second, func() bool { return f.goaway != "" })
			f.mu.Lock()
			defer f.mu.Unlock()
			return "goaway " + f.goaway // the connection goes on for a second more, so that this is read
		}, false, false})
	}
	raw := func(kind http2.FrameType, flags http2.Flags, id uint32, payload string) func(f *frames) error {
		return func(f *frames) error {
			return f.write(func(fr *http2.Framer) error { return fr.WriteRawFrame(kind, flags, id, []byte(payload)) })
		}
	}
	request := func(id uint32) func(f *frames) error {
		return func(f *frames) error { return f.open(id, w.fields(api, "x"), effect) }
	}
	const protocol, size, flow = "goaway PROTOCOL_ERROR", "goaway FRAME_SIZE_ERROR", "goaway FLOW_CONTROL_ERROR"
	word := func(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }
	setting := func(id uint16, n uint32) string { return string(binary.BigEndian.AppendUint16(nil, id)) + word(n) }
	add("a request on stream 0", protocol, request(0))
	add("a request on a stream of the server's", protocol, request(2))
	add("a stream that is older than the last", protocol, func(f *frames) error {
		_ = f.open(5, w.fields(api, "x"), effect)
		f.said(5, 10*time.Second)
		return f.open(3, w.fields(api, "x"), effect)
	})
	add("DATA on stream 0", protocol, raw(http2.FrameData, 0, 0, "x"))
	add("DATA on a stream that is not open", protocol, raw(http2.FrameData, 0, 7, "x"))
	add("a CONTINUATION of nothing", protocol, raw(http2.FrameContinuation, 0, 1, "x"))
	add("a PING inside a head", protocol, func(f *frames) error {
		_ = raw(http2.FrameHeaders, 0, 1, "")(f)
		return raw(http2.FramePing, 0, 0, "12345678")(f)
	})
	add("a head that goes on on another stream", protocol, func(f *frames) error {
		_ = raw(http2.FrameHeaders, 0, 1, "")(f)
		return raw(http2.FrameContinuation, 0, 3, "")(f)
	})
	add("SETTINGS of 5 bytes", size, raw(http2.FrameSettings, 0, 0, "12345"))
	add("SETTINGS on a stream", protocol, raw(http2.FrameSettings, 0, 1, ""))
	add("an ack with something in it", size, raw(http2.FrameSettings, http2.FlagSettingsAck, 0, setting(1, 1)))
	add("a window of 2^31", flow, raw(http2.FrameSettings, 0, 0, setting(4, 1<<31)))
	add("frames of 1 byte", protocol, raw(http2.FrameSettings, 0, 0, setting(5, 1)))
	add("push that is neither on nor off", protocol, raw(http2.FrameSettings, 0, 0, setting(2, 2)))
	add("WINDOW_UPDATE by 0", protocol, raw(http2.FrameWindowUpdate, 0, 0, word(0)))
	add("WINDOW_UPDATE beyond 2^31", flow, func(f *frames) error {
		_ = raw(http2.FrameWindowUpdate, 0, 0, word(1<<31-1))(f)
		return raw(http2.FrameWindowUpdate, 0, 0, word(1<<31-1))(f)
	})
	add("WINDOW_UPDATE of a stream that is not open", protocol, raw(http2.FrameWindowUpdate, 0, 9, word(1)))
	add("WINDOW_UPDATE of 3 bytes", size, raw(http2.FrameWindowUpdate, 0, 0, "123"))
	add("PING of 7 bytes", size, raw(http2.FramePing, 0, 0, "1234567"))
	add("PING on a stream", protocol, raw(http2.FramePing, 0, 1, "12345678"))
	add("RST_STREAM of a stream that is not open", protocol, raw(http2.FrameRSTStream, 0, 9, word(8)))
	add("PUSH_PROMISE", protocol, raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, word(2)))
	add("padding that is longer than its frame", protocol, raw(http2.FrameData, http2.FlagDataPadded, 1, "\xffx"))
	add("an index that nothing is at", "goaway COMPRESSION_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\xff\xff\xff\x7f"))
	add("a table that is larger than is allowed", "goaway COMPRESSION_ERROR", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, "\x3f\xe1\xff\xff\x07"))
	add("a frame of a megabyte", size, raw(http2.FrameData, 0, 1, strings.Repeat("x", 1<<20)))
	all = append(all, assault{"HTTP/1.1 where HTTP/2 was agreed upon", "cut", func(w *world) string {
		f := w.unsaid()
		defer f.Close()
		_, _ = io.WriteString(f.Conn, w.post(api, w.good, effect))
		f.listen(false)
		return f.ended(0)
	}, false, false})
	return all
}

// besieged is a daemon that is attacked over HTTP/2 while somebody else asks how it is.
type besieged struct {
	*world
	secure bool
	client *http.Client
	slow   time.Duration // the longest that the other one has waited
}

func besiege(t *testing.T, secure bool) *besieged {
	w := worldOf(t, secure)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &besieged{world: w, secure: secure, client: &http.Client{Transport: tr, Timeout: 20 * time.Second}}
}

// call makes a call, over HTTP/2 where there is TLS, and names its answer.
func (b *besieged) call(path, body string) string {
	r, err := http.NewRequestWithContext(b.T.Context(), http.MethodPost, map[bool]string{true: "https://", false: "http://"}[b.secure]+b.web+path, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+b.good)
	res, err := b.client.Do(r)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if (res.ProtoMajor == 2) != b.secure {
		return res.Proto
	}
	return named(res.Status[:3], text)
}

// promptly is how soon the daemon has to answer somebody else while it is attacked, on a machine that the attack keeps busy.
const promptly = 3 * time.Second

// under makes attacks, all at once, while somebody else asks every 50 ms how the daemon is, and gives how they ended.
func (b *besieged) under(rows []assault) []string {
	done := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			at := time.Now()
			if got := b.call("/api/v1/daemon/status", "{}"); got != "200" {
				b.T.Errorf("somebody else is answered %s", got)
			}
			b.slow = max(b.slow, time.Since(at))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	ends := make([]string, len(rows))
	var attacks sync.WaitGroup
	for i, a := range rows {
		attacks.Go(func() { ends[i] = a.do(b.world) })
	}
	attacks.Wait()
	close(done)
	other.Wait()
	return ends
}

// TestHTTP2 makes every attack on HTTP/2 there is a name for. Each ends as the protocol says and has no effect, somebody else is
// answered meanwhile, and afterwards the daemon holds what it held before.
func TestHTTP2(t *testing.T) {
	if testing.Short() {
		t.Skip("slow connections take ten seconds")
	}
	t.Parallel()
	b := besiege(t, true)
	good := b.fields(api, b.good)
	control := func() {
		before := b.pid()
		f := b.dialFrames()
		_ = f.open(1, good, effect)
		if got := f.said(1, 15*time.Second); got != "200" {
			t.Fatalf("the good call is refused: %s", got)
		}
		_ = f.Close()
		b.Until(10*time.Second, "the good call has its effect", func() bool { now := b.pid(); return now != 0 && now != before })
	}
	b.restart() // making the accounts has cost more memory than serving does
	control()
	b.warm()
	done, base, held := b.restarts(), b.settled(), b.figures()
	var table strings.Builder
	sections := map[string]func(*world) []assault{"1 requests": pseudo, "2 frames": broken, "3 floods": floods, "4 slow": stalls}
	for _, section := range slices.Sorted(maps.Keys(sections)) {
		t.Run(section[2:], func(t *testing.T) {
			fmt.Fprintf(&table, "\n%s\n", section[2:])
			together := 1
			if strings.HasPrefix(section, "4") { // they wait, and can do so together
				together = 100
			}
			b.assail(t, sections[section](b.world), together, held, &table)
		})
	}
	if now := b.restarts(); now != done {
		t.Errorf("%d calls are on record as done that were attacks", now-done)
	}
	b.unharmed(base, held)
	control()
	t.Log(table.String())
}

// assail makes the attacks of some rows, so many together, and writes how they ended into the table.
func (b *besieged) assail(t *testing.T, rows []assault, together int, held figures, table *strings.Builder) {
	t.Helper()
	daemon, pid := b.DaemonPID(), b.pid()
	for len(rows) > 0 {
		n := min(together, len(rows))
		b.slow = 0
		before, began := b.most(true), time.Now()
		ends := b.under(rows[:n])
		grown := b.most(false) - before
		for i, a := range rows[:n] {
			if got := ends[i]; !a.as(got) {
				t.Errorf("%s: %s, want %s", a.name, got, a.want)
				ends[i] = "WRONG " + got
			}
			fmt.Fprintf(table, "  %-56s %-44s others after %3d ms at most, +%d kB, took %.1f s\n", a.name, ends[i], b.slow.Milliseconds(), grown>>10, time.Since(began).Seconds())
		}
		if b.slow > promptly {
			t.Errorf("%s: somebody else has waited %s", rows[0].name, b.slow)
		}
		if now := b.pid(); now != pid {
			t.Fatalf("%s: web was restarted: %d is now %d", rows[0].name, pid, now)
		}
		if most := rows[0].room(); grown > most {
			t.Errorf("%s: the daemon has grown by %d kB", rows[0].name, grown>>10)
		}
		b.quiet(held)
		rows = rows[n:]
	}
	if b.DaemonPID() != daemon {
		t.Error("the daemon has died")
	}
}

// warm does once what the test itself does later, so that it is not taken for what attacks have left.
func (b *besieged) warm() {
	for range 1000 {
		b.call("/api/v1/daemon/status", "{}")
	}
	b.must("audit.verify", nil, nil)
	b.restarts()
	b.figures()
}

// quiet waits until what was opened is closed.
func (w *world) quiet(held figures) (now figures) {
	w.T.Helper()
	w.Until(30*time.Second, fmt.Sprintf("what was opened is closed: %+v at first", held), func() bool {
		now = w.figures()
		return now.goroutines <= held.goroutines+8 && now.fds <= held.fds+4
	})
	return now
}

// unharmed looks whether the daemon holds what it held before, and whether its record is whole. It is asked a few things first: who
// is asked nothing does not collect.
func (b *besieged) unharmed(base int64, held figures) {
	w := b.world
	w.T.Helper()
	b.warm()
	now := w.quiet(held)
	var verdict struct {
		OK      bool
		Problem string
	}
	w.must("audit.verify", nil, &verdict)
	if !verdict.OK {
		w.T.Errorf("the record: %s", verdict.Problem)
	}
	grown := w.settled() - base
	if grown > room {
		w.T.Errorf("the daemon grew by %d kB, more than %d", grown>>10, room>>10)
	}
	w.T.Logf("the daemon holds %+v, before %+v; it grew by %d kB of %d", now, held, grown>>10, base>>10)
}

// many is how many frames a flood has.
func many() int { return rig.Count(20_000, 200_000) }
