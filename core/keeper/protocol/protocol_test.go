package protocol

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func socketpair(t *testing.T) (int, int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

func TestDescriptorsStayWithTheirFrames(t *testing.T) {
	a, b := socketpair(t)
	files := make([]*os.File, 3)
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	big := PathBody{Path: string(bytes.Repeat([]byte("x"), 100_000))}
	send := []struct {
		typ string
		fds []int
	}{{"one", nil}, {"two", []int{int(files[0].Fd()), int(files[1].Fd())}}, {"three", nil}, {"four", []int{int(files[2].Fd())}}}
	done := make(chan error, 1)
	go func() {
		for _, s := range send {
			if err := Write(a, Frame{Type: s.typ}, big, s.fds); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	var d Decoder
	next := 0
	for _, s := range send {
		f, fds, err := d.Read(b)
		if err != nil || f.Type != s.typ || len(fds) != len(s.fds) || f.V != Version {
			t.Fatalf("%s, %d descriptors, %v; want %s, %d", f.Type, len(fds), err, s.typ, len(s.fds))
		}
		for _, fd := range fds {
			var got, want unix.Stat_t
			unix.Fstat(fd, &got)
			unix.Fstat(int(files[next].Fd()), &want)
			if got.Ino != want.Ino {
				t.Errorf("%s came with another file", s.typ)
			}
			if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s came without close-on-exec", s.typ)
			}
			next++
			unix.Close(fd)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDecoderRefuses(t *testing.T) {
	frame := func(body string) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	for name, p := range map[string][]byte{
		"too large":          binary.LittleEndian.AppendUint32(nil, MaxFrame+1),
		"no JSON":            frame("hello"),
		"promised too much":  frame(`{"type":"x","fds":1}`),
		"less than nothing":  frame(`{"type":"x","fds":-1}`),
		"another kind of it": frame(`[1]`),
	} {
		var d Decoder
		d.Feed(p, nil)
		if _, _, ok, err := d.Next(); ok || err == nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
	}
	var d Decoder
	d.Feed(frame(`{"v":9,"type":"later","seq":7,"unknown":{"a":[1]}}`), nil)
	if f, _, ok, err := d.Next(); !ok || err != nil || f.Seq != 7 {
		t.Errorf("a frame of a later version: %+v, %v, %v", f, ok, err)
	}
}

// TestDecoderKeepsLittle: a usual frame needs no new buffer, and a large one's is given back.
func TestDecoderKeepsLittle(t *testing.T) {
	var d Decoder
	take := func(size, part int) {
		t.Helper()
		p, err := Encode(Frame{Type: "x"}, PathBody{Path: string(bytes.Repeat([]byte("x"), size))})
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for p = append(p, p...); len(p) > 0; p = p[min(part, len(p)):] {
			d.Feed(p[:min(part, len(p))], nil)
			for {
				f, _, ok, err := d.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if len(f.Body) < size {
					t.Fatalf("%d bytes of %d", len(f.Body), size)
				}
				got++
			}
		}
		if got != 2 || cap(d.buf) > keptBuffer {
			t.Errorf("%d frames of %d bytes in parts of %d leave a buffer of %d", got, size, part, cap(d.buf))
		}
	}
	take(100, 1<<20)
	was := &d.buf[:1][0]
	for _, part := range []int{1, 7, 150, 1000} {
		take(100, part)
	}
	if &d.buf[:1][0] != was {
		t.Error("usual frames need a new buffer")
	}
	for _, part := range []int{1000, 150_000, 1 << 20} {
		take(100_000, part)
	}
}

func FuzzDecoder(f *testing.F) {
	ok, err := Encode(Frame{Type: Spawn, Seq: 1}, Spec{ID: "x"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(ok, 3)
	f.Add([]byte("\xff\xff\xff\xff"), 1)
	f.Add([]byte("\x02\x00\x00\x00{}\x01\x00\x00\x00"), 2)
	f.Fuzz(func(t *testing.T, p []byte, cut int) {
		var whole, parts Decoder
		whole.Feed(p, nil)
		n := 0
		for {
			_, _, ok, err := whole.Next()
			if !ok || err != nil {
				break
			}
			n++
		}
		cut = max(1, cut%64)
		m := 0
		for rest := p; len(rest) > 0; {
			k := min(cut, len(rest))
			parts.Feed(rest[:k], nil)
			rest = rest[k:]
			for {
				_, _, ok, err := parts.Next()
				if !ok || err != nil {
					break
				}
				m++
			}
		}
		if n != m {
			t.Errorf("%d frames at once, %d in parts", n, m)
		}
	})
}

func TestMerge(t *testing.T) {
	var n Notice
	n.Merge(Notice{Ready: true, Status: "a", PID: 1})
	n.Merge(Notice{Watchdog: true, PID: 2})
	if !n.Ready || n.Status != "a" || !n.Watchdog || n.PID != 2 {
		t.Errorf("%+v", n)
	}
	n.Merge(Notice{Reloading: true})
	if n.Ready || !n.Reloading {
		t.Errorf("%+v", n)
	}
	n.Merge(Notice{Ready: true, Status: "b"})
	if !n.Ready || n.Reloading || n.Status != "b" {
		t.Errorf("%+v", n)
	}
}
