package journal

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
	"github.com/omnitron-dev/omnitron/core/redact"
)

// bulk writes a stream of 61-byte lines, of which a file holds so many bytes.
func bulk(b *testing.B, j *Journal, total, file int64) {
	w := open(b, j, out1)
	var block strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&block, "%060d\n", i)
	}
	now := epoch
	for w.Pos() < total {
		now = now.Add(time.Millisecond)
		if w.Write(now, block.String()); w.Size() >= file {
			w.Rotate(now)
		}
	}
}

// rss is the resident size of the process in bytes.
func rss(b *testing.B) int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// BenchmarkFollow reads 61-byte lines, and one line without an end, and says how much memory that takes.
func BenchmarkFollow(b *testing.B) {
	const total = 256 << 20
	for _, name := range []string{"lines", "no newline"} {
		b.Run(name, func(b *testing.B) {
			j := newJournal(b)
			if name == "lines" {
				bulk(b, j, total, 50<<20)
			} else {
				w := open(b, j, out1)
				for range total >> 20 {
					w.Write(epoch, strings.Repeat("x", 1<<20))
				}
			}
			end, err := j.End(out1)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(end)
			runtime.GC()
			before, most := rss(b), int64(0)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for l, err := range j.Follow(b.Context(), Filter{Since: epoch}) {
					if err != nil {
						b.Fatal(err)
					}
					if n++; n%100_000 == 0 {
						most = max(most, rss(b))
					}
					if l.Pos+int64(len(l.Text)) >= end-segment.MaxLine-1 && (l.Partial || l.Pos+int64(len(l.Text))+1 == end) {
						break
					}
				}
			}
			b.ReportMetric(float64(max(most, rss(b))-before)/(1<<20), "MB-growth")
		})
	}
}

// BenchmarkTail asks for the last 100 lines of 50 MB, from the files and from the ring.
func BenchmarkTail(b *testing.B) {
	j := newJournal(b)
	bulk(b, j, 50<<20, 1<<30)
	for _, name := range []string{"files", "ring"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if name == "files" {
					clear(j.ring.tails)
					j.ring.used = 0
				}
				lines, _, _, err := j.Query(b.Context(), Filter{})
				if err != nil || len(lines) != 100 {
					b.Fatal(len(lines), err)
				}
			}
		})
	}
}

// BenchmarkGrep looks for what is not there, in plain and in compressed files.
func BenchmarkGrep(b *testing.B) {
	for _, format := range []string{"none", "zstd", "gzip"} {
		b.Run(format, func(b *testing.B) {
			j := newJournal(b)
			j.budget = time.Hour
			bulk(b, j, 64<<20, 16<<20)
			j.SetPolicy(out1.Key(), Policy{Compress: format})
			if err := j.Maintain(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(64 << 20)
			for b.Loop() {
				if lines, _, _, err := j.Query(b.Context(), Filter{Grep: "needle"}); err != nil || len(lines) > 0 {
					b.Fatal(lines, err)
				}
			}
		})
	}
}

// BenchmarkCompress is what rotation costs behind the scenes.
func BenchmarkCompress(b *testing.B) {
	for _, format := range []segment.Format{segment.Zstd, segment.Gzip} {
		b.Run([]string{"", "zstd", "gzip"}[format], func(b *testing.B) {
			j := newJournal(b)
			bulk(b, j, 16<<20, 16<<20)
			plain := segment.Archive(Path(j.Dir(), out1), 0)
			data, err := os.ReadFile(plain)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := segment.Compress(b.Context(), plain, format, func(change func() error) error { return change() }); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				for _, path := range []string{plain + ".zst", plain + ".gz"} {
					os.Remove(path)
				}
				if err := os.WriteFile(plain, data, 0o600); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkHidden is what looking for 100 secrets adds to a page of a query and to a search through everything.
func BenchmarkHidden(b *testing.B) {
	var values [][]byte
	for i := range 100 {
		values = append(values, fmt.Appendf(nil, "%x", sha256.Sum224([]byte{byte(i)})))
	}
	for _, secrets := range []int{0, 100} {
		j := newJournal(b)
		j.budget = time.Hour
		j.Hide(redact.NewLive(func() [][]byte { return values[:secrets] }))
		bulk(b, j, 32<<20, 1<<30)
		for what, f := range map[string]Filter{"page": {Limit: 1000}, "search": {Grep: "needle"}} {
			b.Run(fmt.Sprintf("%s, %d secrets", what, secrets), func(b *testing.B) {
				for b.Loop() {
					clear(j.ring.tails)
					j.ring.used = 0
					if _, _, _, err := j.Query(b.Context(), f); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
