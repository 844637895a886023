package segment

import (
	"bytes"
	"slices"
	"testing"
)

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\n\nc"), int64(0), uint16(2), uint8(0))
	f.Add([]byte("\x00\r\n\xff\xfe\n"), int64(65530), uint16(3), uint8(1))
	f.Add(bytes.Repeat([]byte("x"), MaxLine+10), int64(17), uint16(900), uint8(0))
	f.Add(append(bytes.Repeat([]byte("y"), MaxLine-1), '\n'), int64(1), uint16(0), uint8(1))
	f.Add(append(bytes.Repeat([]byte("z"), 2*MaxLine), '\n'), int64(MaxLine), uint16(65535), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, pos int64, cut uint16, tail uint8) {
		if pos < 0 || pos > 1<<40 {
			pos = 0
		}
		if rep := int(tail>>2) * 300; rep > 0 && len(data) > 0 { // long inputs that the fuzzer would not find
			data = bytes.Repeat(data, min(rep, (3*MaxLine)/len(data)+1))
		}
		mode := Tail(tail % 3)
		cuts := []int64{pos + int64(cut)}
		var out []byte
		last := 0
		took := Split(data, pos, cuts, mode, func(off, end int) {
			if off != last || end <= off {
				t.Fatalf("line %d-%d after %d", off, end, last)
			}
			if end-off > MaxLine {
				t.Fatalf("line of %d bytes", end-off)
			}
			if i := bytes.IndexByte(data[off:end], '\n'); i >= 0 && off+i+1 != end {
				t.Fatalf("a newline inside %q", data[off:end])
			}
			if c := int(cut); off < c && c < end {
				t.Fatalf("line %d-%d goes on across the cut at %d", off, end, c)
			}
			if end < len(data) && data[end-1] != '\n' && end != int(cut) && (pos+int64(end))%MaxLine != 0 {
				t.Fatalf("line ends at %d for no reason", end)
			}
			out, last = append(out, data[off:end]...), end
		})
		if !bytes.Equal(append(out, data[took:]...), data) {
			t.Fatal("bytes out are not bytes in")
		}
		if mode != Hold && took != len(data) {
			t.Fatalf("took %d of %d", took, len(data))
		}
		if len(data)-took > MaxLine {
			t.Fatalf("held %d bytes back", len(data)-took)
		}
	})
}

func TestBoundariesAgreeInBothDirections(t *testing.T) {
	line := func(n int) []byte { return append(bytes.Repeat([]byte("x"), n-1), '\n') }
	for _, tc := range []struct {
		name string
		data []byte
		pos  int64
	}{
		{"short", []byte("a\nbb\nccc\n"), 7},
		{"as long as allowed", append(line(MaxLine), line(3)...), 5},
		{"one longer", append(line(MaxLine+1), line(3)...), 5},
		{"long from a multiple", append(line(3*MaxLine), line(3)...), MaxLine},
		{"long without an end", append(line(9), bytes.Repeat([]byte("y"), 200000)...), 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var starts []int
			Split(tc.data, tc.pos, nil, Close, func(off, _ int) { starts = append(starts, off) })
			for _, w := range []int{MaxLine + 2, MaxLine + 777, 2 * MaxLine} {
				for from := 1; from < len(tc.data)-w; from += 997 {
					b := firstBoundary(tc.data[from:from+w], tc.pos+int64(from), nil)
					if b < 0 || !slices.Contains(starts, from+b) {
						t.Fatalf("window %d+%d finds a line at %d, the lines start at %v", from, w, from+b, starts)
					}
				}
			}
		})
	}
}
