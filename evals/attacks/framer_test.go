package attacks

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client of HTTP/2 that writes frame by frame what it is told to, right or wrong, and notes what comes back.
type frames struct {
	net.Conn
	w   *world
	wmu sync.Mutex // of what is written
	fr  *http2.Framer

	head bytes.Buffer
	enc  *hpack.Encoder

	mu      sync.Mutex
	changed chan struct{} // closed with every change
	streams map[uint32]*heardStream
	goaway  string
	cut     bool
	window  int // how much may be sent on stream 1, and in all
	windows int
	acks    int
	greeted bool // its settings were acknowledged
}

// heardStream is what came back on a stream.
type heardStream struct {
	status string
	body   []byte
	reset  string
	over   bool
}

// pairs are header fields in the order in which they are sent.
type pairs []string

// dialFrames connects with TLS and says what it has to. settings are its own; one that does not answer pings is rude, and one that
// does not read is deaf.
func (w *world) dialFrames(settings ...http2.Setting) *frames {
	f := w.deaf(settings...)
	go f.listen(true) // it ends with the connection
	f.until(10*time.Second, func() bool { return f.greeted })
	return f
}

func (w *world) rude(settings ...http2.Setting) *frames {
	f := w.deaf(settings...)
	go f.listen(false) // it ends with the connection
	f.until(10*time.Second, func() bool { return f.acks > 0 })
	return f
}

func (w *world) deaf(settings ...http2.Setting) *frames {
	w.T.Helper()
	f := w.unsaid()
	if _, err := io.WriteString(f.Conn, http2.ClientPreface); err != nil {
		w.T.Fatal(err)
	}
	if err := f.fr.WriteSettings(settings...); err != nil {
		w.T.Fatal(err)
	}
	return f
}

// unsaid is a connection on which HTTP/2 was agreed upon and nothing was said.
func (w *world) unsaid() *frames {
	w.T.Helper()
	raw := w.dial(w.web)
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := c.HandshakeContext(w.T.Context()); err != nil {
		_ = raw.Close()
		w.T.Fatal(err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != "h2" {
		w.T.Fatalf("the plane speaks %q", got)
	}
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	f := &frames{Conn: c, w: w, fr: http2.NewFramer(c, c), changed: make(chan struct{}), streams: map[uint32]*heardStream{}, window: 65535, windows: 65535}
	f.fr.AllowIllegalWrites, f.fr.AllowIllegalReads = true, true
	f.enc = hpack.NewEncoder(&f.head)
	return f
}

// listen notes what comes until the connection is over.
func (f *frames) listen(polite bool) {
	dec := hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.fr.ReadFrame()
		if err != nil {
			f.note(func() { f.cut = true })
			return
		}
		id := frame.Header().StreamID
		var ack func() error
		f.note(func() {
			s := f.streams[id]
			if s == nil {
				s = &heardStream{}
				f.streams[id] = s
			}
			switch frame := frame.(type) {
			case *http2.HeadersFrame:
				fields, _ := dec.DecodeFull(frame.HeaderBlockFragment())
				for _, h := range fields {
					if h.Name == ":status" {
						s.status = h.Value
					}
				}
				s.over = s.over || frame.StreamEnded()
			case *http2.DataFrame:
				s.body = append(s.body, frame.Data()...)
				s.over = s.over || frame.StreamEnded()
			case *http2.RSTStreamFrame:
				if s.over = true; s.reset == "" { // what comes after it is of frames that were on their way
					s.reset = frame.ErrCode.String()
				}
			case *http2.GoAwayFrame:
				f.goaway = frame.ErrCode.String()
			case *http2.SettingsFrame:
				if n, ok := frame.Value(http2.SettingInitialWindowSize); ok {
					f.window += int(n) - 65535
				}
				if frame.IsAck() {
					f.acks++
				} else if polite {
					ack = func() error { defer f.note(func() { f.greeted = true }); return f.fr.WriteSettingsAck() }
				}
			case *http2.PingFrame:
				if data := frame.Data; !frame.IsAck() && polite {
					ack = func() error { return f.fr.WritePing(true, data) }
				}
			case *http2.WindowUpdateFrame:
				if id == 0 {
					f.windows += int(frame.Increment)
				} else {
					f.window += int(frame.Increment)
				}
			}
		})
		if ack != nil {
			f.wmu.Lock()
			_ = ack() // that it has gone shows when it is read
			f.wmu.Unlock()
		}
	}
}

func (f *frames) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

// until waits until something was noted, or the connection is over, or so long; it reports whether it was.
func (f *frames) until(atMost time.Duration, what func() bool) bool {
	late := time.NewTimer(atMost)
	defer late.Stop()
	for {
		f.mu.Lock()
		done, cut, changed := what(), f.cut, f.changed
		f.mu.Unlock()
		if done || cut {
			return done
		}
		select {
		case <-changed:
		case <-late.C:
			return false
		}
	}
}

// write writes frames; that nobody takes them any more shows in what comes back.
func (f *frames) write(frames func(fr *http2.Framer) error) error {
	f.wmu.Lock()
	defer f.wmu.Unlock()
	return frames(f.fr)
}

// block encodes header fields.
func (f *frames) block(fields pairs) []byte {
	f.head.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return bytes.Clone(f.head.Bytes())
}

// open sends the head of a request, and its body when there is one. One of many bytes goes out in more than one frame.
func (f *frames) open(id uint32, fields pairs, body string) error {
	return f.write(func(fr *http2.Framer) error {
		block := f.block(fields)
		first := block[:min(len(block), 16<<10)]
		rest := block[len(first):]
		err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(rest) == 0, EndStream: body == ""})
		for len(rest) > 0 && err == nil {
			piece := rest[:min(len(rest), 16<<10)]
			rest = rest[len(piece):]
			err = fr.WriteContinuation(id, len(rest) == 0, piece)
		}
		if body == "" || err != nil {
			return err
		}
		return fr.WriteData(id, true, []byte(body))
	})
}

// granted reports whether so many bytes in all may be sent on stream 1.
func (f *frames) granted(n int) bool { return n <= f.window && n <= f.windows }

// said is how a stream has ended: its answer, its reset, or the end of the connection.
func (f *frames) said(id uint32, atMost time.Duration) string {
	over := f.until(atMost, func() bool { s := f.streams[id]; return f.goaway != "" && f.goaway != "NO_ERROR" || s != nil && s.over })
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[id]
	switch {
	case s != nil && s.reset != "" && s.status != "" && s.status != "200":
		return named(s.status, s.body) // it was told, and that it need not send the rest
	case s != nil && s.reset != "":
		return "reset " + s.reset
	case s != nil && s.over:
		return named(s.status, s.body)
	case f.goaway != "" && f.goaway != "NO_ERROR":
		return "goaway " + f.goaway
	case f.cut:
		return "cut"
	case !over:
		return "silence"
	}
	return "?"
}

// ended is how the connection has ended, when it has.
func (f *frames) ended(atMost time.Duration) string {
	f.until(atMost, func() bool { return f.cut })
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.cut:
		return "goes on"
	case f.goaway != "":
		return "goaway " + f.goaway
	}
	return "cut"
}

// head is that of a request with the effect, or of another one.
func (w *world) fields(path, bearer string, more ...string) pairs {
	p := pairs{":method", "POST", ":scheme", "https", ":authority", w.web, ":path", path, "content-type", "application/json", "accept", "application/json, text/event-stream"}
	if bearer != "" {
		p = append(p, "authorization", "Bearer "+bearer)
	}
	return append(p, more...)
}

// over gives the fields with one of them changed; without a value it is left out.
func (p pairs) over(name string, value ...string) pairs {
	var out pairs
	for i := 0; i+1 < len(p); i += 2 {
		if p[i] != name {
			out = append(out, p[i], p[i+1])
			continue
		}
		for _, v := range value {
			out = append(out, name, v)
		}
	}
	return out
}

// certificate makes one for the loopback address, with its key, and gives where they are.
func certificate(dir string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

// figures are what the daemon holds.
type figures struct{ goroutines, fds int }

func (w *world) figures() figures {
	var st struct{ Goroutines, FDs int }
	w.must("daemon.status", nil, &st)
	return figures{st.Goroutines, st.FDs}
}

// most resets what the kernel has noted as the most memory that the daemon has had, when it is told to, and gives it.
func (w *world) most(reset bool) int64 {
	w.T.Helper()
	dir := "/proc/" + strconv.Itoa(w.DaemonPID())
	if reset {
		if err := os.WriteFile(dir+"/clear_refs", []byte("5"), 0o600); err != nil {
			w.T.Fatal(err)
		}
	}
	text, err := os.ReadFile(dir + "/status")
	if err != nil {
		w.T.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	w.T.Fatal("the daemon has no memory")
	return 0
}
