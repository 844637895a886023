package unit

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"15s": 15 * time.Second, "1m30s": 90 * time.Second, "500ms": 500 * time.Millisecond, "0s": 0, "1.5h": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "0.25s": 250 * time.Millisecond, "1d12h": 36 * time.Hour, "90s": 90 * time.Second} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for text, meant := range map[string]string{"": "", "15": "15s", "1.5": "1.5s", "15 s": "15s", "5 minutes": "5m", "2 Hours": "2h", "10S": "10s", "1y": "", "-5s": "", "5s ": "5s", "soon": "", "1e3s": "", "5µs": "", "5ns": "", ".5s": "", "5s,": "", "٣s": ""} {
		_, err := Duration(text)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Meant != meant || e.Message == "" {
			t.Errorf("%q: %v, meant %q", text, err, e.Meant)
		}
	}
	for _, text := range []string{"99999999999999999999s", "200000w", "100000000000h", strings.Repeat("9", 500) + "s"} {
		if _, err := Duration(text); !errors.Is(err, ErrRange) || len(err.Error()) > 200 {
			t.Errorf("%.30s: %v", text, err)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"1B": 1, "50MB": 50_000_000, "50KB": 50_000, "1KiB": 1024, "512MiB": 512 << 20, "1.5GB": 1_500_000_000, "2TiB": 2 << 40, "1GiB": 1 << 30, "1TB": 1e12, "0B": 0} {
		if got, err := Size(text); err != nil || got != want {
			t.Errorf("%s is %d, %v", text, got, err)
		}
	}
	for text, meant := range map[string]string{"": "", "50": "50B", "50M": "50MB", "50mb": "50MB", "1k": "1KB", "1 GB": "1GB", "1Mi": "1MiB", "1mib": "1MiB", "1PB": "", "-1MB": "", "big": "", "1MBB": ""} {
		_, err := Size(text)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Meant != meant || e.Message == "" {
			t.Errorf("%q: %v, meant %q", text, err, e.Meant)
		}
	}
	if _, err := Size("99999999999TB"); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", -1: "0s", 15 * time.Second: "15s", 90 * time.Second: "1m30s", 7 * 24 * time.Hour: "7d", 1500 * time.Millisecond: "1s500ms", time.Microsecond: "0s"} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is written %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", -1: "0B", 50_000_000: "50MB", 512 << 20: "512MiB", 1001: "1001B", 1000: "1KB", 1024: "1KiB", 3 << 20: "3MiB"} {
		if got := FormatSize(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"15s", "1m30s", "1.5h", "7d", "5", "5 minutes", "99999999999999999999s", "-1s", "0.000000001ms", "1w1d1h1m1s1ms", "\x00s", "µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Duration(text)
		switch e, bad := errors.AsType[*Error](err); {
		case err != nil && !bad:
			t.Fatalf("%q: %T", text, err)
		case bad && e.Meant != "":
			if _, err := Duration(e.Meant); err != nil && !errors.Is(err, ErrRange) {
				t.Fatalf("%q: suggested %q, which is refused too", text, e.Meant)
			}
		case !bad && d < 0:
			t.Fatalf("%q is %v", text, d)
		case !bad:
			again, err := Duration(FormatDuration(d))
			if err != nil || again != max(0, d.Round(time.Millisecond)) {
				t.Fatalf("%q is %v, written %s, read %v, %v", text, d, FormatDuration(d), again, err)
			}
		}
	})
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"50MB", "512MiB", "1.5GB", "50", "50M", "1 gb", "99999999999TB", "-1B", "0.1B", "1kib"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Size(text)
		switch e, bad := errors.AsType[*Error](err); {
		case err != nil && !bad:
			t.Fatalf("%q: %T", text, err)
		case bad && e.Meant != "":
			if _, err := Size(e.Meant); err != nil && !errors.Is(err, ErrRange) {
				t.Fatalf("%q: suggested %q, which is refused too", text, e.Meant)
			}
		case !bad && n < 0:
			t.Fatalf("%q is %d", text, n)
		case !bad:
			if again, err := Size(FormatSize(n)); err != nil || again != n && n < 1<<52 {
				t.Fatalf("%q is %d, written %s, read %d, %v", text, n, FormatSize(n), again, err)
			}
		}
	})
}
