package attacks

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

// floods are frames that are right, and too many.
func floods(w *world) (all []assault) {
	add := func(name, want string, do func(w *world) string) {
		all = append(all, assault{name, want, do, true, false})
	}
	// A client that goes on: what it has sent is heeded, and then it asks something.
	goesOn := func(do func(f *frames) error) func(w *world) string {
		return func(w *world) string {
			f := w.dialFrames()
			defer f.Close()
			err := do(f)
			last := uint32(1<<31 - 1)
			_ = f.open(last, w.fields("/api/v1/apps/list", w.good), "{}")
			if got := f.said(last, 20*time.Second); got != "200" {
				return fmt.Sprintf("then %s, %v", got, err)
			}
			return "goes on"
		}
	}
	// A client that reads nothing. What it is answered fills the buffers of two sockets, some ten megabytes, before the daemon sees.
	deaf := func(n int, each func(fr *http2.Framer, i int) error) func(w *world) string {
		return func(w *world) string {
			f := w.deaf()
			defer f.Close()
			for i := range n {
				if err := f.write(func(fr *http2.Framer) error { return each(fr, i) }); err != nil {
					return "cut"
				}
			}
			return "goes on"
		}
	}
	resets := func(bearer, path string) func(w *world) string {
		return func(w *world) string {
			f := w.dialFrames()
			defer f.Close()
			for i := range uint32(many()) {
				id := 2*i + 1
				err := f.open(id, w.fields(path, bearer), "")
				if err == nil {
					err = f.write(func(fr *http2.Framer) error { return fr.WriteRSTStream(id, http2.ErrCodeCancel) })
				}
				if err != nil {
					break
				}
			}
			if got := f.ended(time.Second); got != "goes on" {
				return "over" // it was too much
			}
			return "over"
		}
	}
	add("256 MB of a stranger's", "401 unauthenticated/bad_token", func(w *world) string { return w.upload(api, "x") })
	add("256 MB for a method that anybody may call", "413 limited/too_large", func(w *world) string { return w.upload("/api/v1/auth/signin", "") })
	add("256 MB", "413 limited/too_large", func(w *world) string { return w.upload(api, w.good) })
	add("rapid reset, by a stranger", "over", resets("x", api))
	add("rapid reset, of calls", "over", resets(w.views, "/api/v1/apps/list"))
	add("rapid reset, of streams", "over", resets(w.views, "/api/v1/events/follow"))
	add("streams that the server is made to reset", "over", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		for i := range uint32(many()) {
			id := 2*i + 1
			if f.open(id, w.fields("/api/v1/events/follow", w.views), "") != nil || f.write(func(fr *http2.Framer) error {
				return fr.WriteRawFrame(http2.FrameWindowUpdate, 0, id, []byte{0, 0, 0, 0})
			}) != nil {
				break
			}
		}
		return "over"
	})
	add("a head that goes on without an end", "goaway PROTOCOL_ERROR", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		piece := []byte(strings.Repeat("\x00\x01x\x7f\x81\x7f"+strings.Repeat("y", 256), 32)) // fields that are not kept
		_ = f.write(func(fr *http2.Framer) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(w.fields(api, w.good))})
		})
		for range many() {
			if f.write(func(fr *http2.Framer) error { return fr.WriteContinuation(1, false, piece) }) != nil {
				break
			}
		}
		return f.ended(14 * time.Second)
	})
	add("a header of a megabyte", "goaway COMPRESSION_ERROR", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		_ = f.open(1, w.fields(api, w.good, "x", strings.Repeat("y", 1<<20)), effect)
		return f.ended(14 * time.Second)
	})
	add("a head of 20 kB", "431", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		more := pairs{}
		for i := range 5 {
			more = append(more, fmt.Sprint("x", i), strings.Repeat("a", 4000))
		}
		_ = f.open(1, w.fields(api, w.good, more...), effect)
		return f.said(1, 14*time.Second)
	})
	named := func(times int) func(w *world) string {
		return func(w *world) string {
			f := w.dialFrames()
			defer f.Close()
			block := append(f.block(append(w.fields(api, w.good), "x", strings.Repeat("y", 4000))), strings.Repeat("\xbe", times)...) // the newest of the table
			_ = f.write(func(fr *http2.Framer) error {
				first := block[:min(len(block), 12_000)]
				err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: true, EndHeaders: len(first) == len(block)})
				if len(first) == len(block) {
					return err
				}
				return firstOf(err, func() error { return fr.WriteContinuation(1, true, block[12_000:]) })
			})
			return f.said(1, 14*time.Second)
		}
	}
	add("a header of 4 kB, named 5 000 times", "431", named(5000))
	add("a header of 4 kB, named 20 000 times", "goaway PROTOCOL_ERROR", named(20_000))
	add("PING, of who reads", "goes on", goesOn(func(f *frames) error {
		for range 5000 { // more may be too many before all are read
			if err := f.write(func(fr *http2.Framer) error { return fr.WritePing(false, [8]byte{1}) }); err != nil {
				return err
			}
		}
		return nil
	}))
	add("PING, of who does not read", "cut", deaf(max(10*many(), 1_000_000), func(fr *http2.Framer, _ int) error { return fr.WritePing(false, [8]byte{1}) }))
	add("SETTINGS, of who reads", "goes on", goesOn(func(f *frames) error {
		for i := range many() {
			if err := f.write(func(fr *http2.Framer) error {
				return fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(1<<16 + i)})
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	add("SETTINGS, of who does not read, which are acknowledged together", "goes on", deaf(10*many(), func(fr *http2.Framer, _ int) error { return fr.WriteSettings() }))
	add("empty requests, of who does not read", "cut", func(w *world) string {
		f := w.deaf()
		defer f.Close()
		for i := range uint32(50 * many()) {
			if f.open(2*i+1, w.fields(api, "x"), "") != nil {
				return "cut"
			}
		}
		return "goes on"
	})
	add("WINDOW_UPDATE", "goes on", goesOn(func(f *frames) error {
		for range many() {
			if err := f.write(func(fr *http2.Framer) error { return fr.WriteWindowUpdate(0, 1) }); err != nil {
				return err
			}
		}
		return nil
	}))
	add("PRIORITY of streams that there are not", "goes on", goesOn(func(f *frames) error {
		for i := range uint32(many()) {
			if err := f.write(func(fr *http2.Framer) error {
				return fr.WritePriority(2*i+101, http2.PriorityParam{StreamDep: 2*i + 99, Weight: 1})
			}); err != nil {
				return err
			}
		}
		return nil
	}))
	add("frames of a kind that there is not", "goes on", goesOn(func(f *frames) error {
		for range many() {
			if err := f.write(func(fr *http2.Framer) error { return fr.WriteRawFrame(0x77, 0xff, 0, nil) }); err != nil {
				return err
			}
		}
		return nil
	}))
	add("DATA on a stream that has ended", "*", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		_ = f.open(1, w.fields(api, "x"), effect)
		f.said(1, 10*time.Second)
		for range many() {
			if f.write(func(fr *http2.Framer) error { return fr.WriteData(1, false, []byte("x")) }) != nil {
				break
			}
		}
		return f.ended(10 * time.Second)
	})
	add("more streams than are allowed", "128 open, 72 reset PROTOCOL_ERROR", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		f.until(10*time.Second, func() bool { return f.acks > 0 })
		for i := range uint32(200) {
			_ = f.open(2*i+1, w.fields("/api/v1/events/follow", w.views), "{}")
		}
		open, refused := 0, map[string]int{}
		f.until(15*time.Second, func() bool {
			open, refused = 0, map[string]int{}
			for _, s := range f.streams {
				if s.reset != "" {
					refused["reset "+s.reset]++
				} else if s.status == "200" {
					open++
				}
			}
			return open+refused["reset REFUSED_STREAM"]+refused["reset PROTOCOL_ERROR"] == 200
		})
		got := fmt.Sprintf("%d open", open)
		for _, why := range []string{"reset REFUSED_STREAM", "reset PROTOCOL_ERROR"} {
			if refused[why] > 0 {
				got += fmt.Sprintf(", %d %s", refused[why], why)
			}
		}
		return got
	})
	return all
}

func firstOf(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

// upload sends a body without an end as far as it is let.
func (w *world) upload(path, bearer string) string {
	f := w.dialFrames()
	defer f.Close()
	_ = f.write(func(fr *http2.Framer) error {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(w.fields(path, bearer)), EndHeaders: true})
	})
	piece := make([]byte, 16<<10)
	for sent := 0; sent < 256<<20; sent += len(piece) {
		if !f.until(10*time.Second, func() bool { s := f.streams[1]; return f.granted(sent+len(piece)) || s != nil && s.over }) {
			break
		}
		if s := f.said(1, 0); s != "silence" {
			return s
		}
		if f.write(func(fr *http2.Framer) error { return fr.WriteData(1, false, piece) }) != nil {
			break
		}
	}
	return f.said(1, 12*time.Second)
}

// stalls are clients that take their time. All of them are over in ten seconds or little more.
func stalls(w *world) (all []assault) {
	add := func(name, want string, do func(w *world) string) {
		all = append(all, assault{name, want, do, false, true})
	}
	within := func(f *frames, most time.Duration) string {
		began := time.Now()
		got := f.ended(most + 5*time.Second)
		if took := time.Since(began); took > most {
			return fmt.Sprintf("%s after %s", got, took)
		}
		return got
	}
	add("no preface", "cut", func(w *world) string {
		f := w.unsaid()
		defer f.Close()
		go f.listen(false) // it ends with the connection
		return within(f, 12*time.Second)
	})
	add("half a preface", "cut", func(w *world) string {
		f := w.unsaid()
		defer f.Close()
		_, _ = io.WriteString(f.Conn, http2.ClientPreface[:10])
		go f.listen(false) // it ends with the connection
		return within(f, 12*time.Second)
	})
	add("nothing, and no answer to a PING", "cut", func(w *world) string {
		f := w.rude()
		defer f.Close()
		return within(f, 12*time.Second)
	})
	add("50 heads that do not end", "cut", func(w *world) string {
		verdict := "cut"
		var open []*frames
		for range 50 {
			f := w.rude()
			defer f.Close()
			_ = f.write(func(fr *http2.Framer) error {
				return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(w.fields(api, w.good))[:9]})
			})
			open = append(open, f)
		}
		began := time.Now()
		for _, f := range open {
			if got := f.ended(15*time.Second - time.Since(began)); got == "goes on" || time.Since(began) > 12*time.Second {
				verdict = fmt.Sprintf("%s after %s", got, time.Since(began))
			}
		}
		return verdict
	})
	add("60 bodies that do not come", "408 invalid/bad_request", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		for i := range uint32(60) {
			_ = f.write(func(fr *http2.Framer) error {
				err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: f.block(w.fields(api, w.good)), EndHeaders: true})
				return firstOf(err, func() error { return fr.WriteData(2*i+1, false, []byte("{")) })
			})
		}
		began, verdict := time.Now(), "408 invalid/bad_request"
		for i := range uint32(60) {
			if got := f.said(2*i+1, 12*time.Second-time.Since(began)); got != verdict {
				return got
			}
		}
		return verdict
	})
	stalled := func(path, body string, grant bool) func(w *world) string {
		return func(w *world) string {
			f := w.dialFrames(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			defer f.Close()
			f.until(10*time.Second, func() bool { return f.acks > 0 })
			for i := range uint32(60) {
				fields := w.fields(path, w.good)
				if body == "" {
					fields = fields.over(":method", "GET")
				}
				_ = f.open(2*i+1, fields, body)
			}
			began := time.Now()
			tick := time.NewTicker(500 * time.Millisecond)
			defer tick.Stop()
			for time.Since(began) < 15*time.Second {
				over := 0
				f.mu.Lock()
				for _, s := range f.streams {
					if s.over {
						over++
					}
				}
				f.mu.Unlock()
				if over == 60 {
					return f.said(1, 0)
				}
				if grant {
					_ = f.write(func(fr *http2.Framer) error {
						for i := range uint32(60) {
							_ = fr.WriteWindowUpdate(2*i+1, 1) // of one that is over it is not heeded
						}
						return nil
					})
				}
				<-tick.C
			}
			return "goes on"
		}
	}
	add("60 answers into windows that are shut", "reset INTERNAL_ERROR", stalled("/api/v1/daemon/status", "{}", false))
	add("60 answers that are taken byte by byte", "reset INTERNAL_ERROR", stalled("/api/v1/daemon/status", "{}", true))
	add("60 long answers into windows that are shut", "reset INTERNAL_ERROR", stalled("/openapi.json", "", false))
	add("a head that goes on with nothing", "cut", func(w *world) string {
		f := w.rude()
		defer f.Close()
		_ = f.write(func(fr *http2.Framer) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(w.fields(api, w.good))})
		})
		for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
			if f.write(func(fr *http2.Framer) error { return fr.WriteContinuation(1, false, nil) }) != nil {
				return "cut"
			}
		}
		return "goes on"
	})
	add("empty DATA", "408 invalid/bad_request", func(w *world) string {
		f := w.dialFrames()
		defer f.Close()
		_ = f.write(func(fr *http2.Framer) error {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(w.fields(api, w.good)), EndHeaders: true})
		})
		for over := false; !over; {
			err := f.write(func(fr *http2.Framer) error { return fr.WriteData(1, false, nil) })
			f.mu.Lock()
			over = err != nil || f.cut || f.streams[1] != nil && f.streams[1].over
			f.mu.Unlock()
		}
		return f.said(1, time.Second)
	})
	return all
}
