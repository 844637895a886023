// Package unit reads and writes the durations and sizes of Omnitron's files: 15s, 1m30s, 7d, 50MB, 512MiB.
package unit

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The grammars as regular expressions that Go and JSON Schema read alike.
const (
	DurationPattern = `^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$`
	SizePattern     = `^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$`
)

// ErrRange is in the chain of errors about values that are well written but too large to hold.
var ErrRange = errors.New("too large")

// Error says what is wrong with a value and, where that can be guessed, what was meant.
type Error struct {
	Message string
	Meant   string // a value that would do, or ""
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives ErrRange for values out of range.
func (e *Error) Unwrap() error { return e.cause }

var (
	durationRE   = regexp.MustCompile(DurationPattern)
	durationPart = regexp.MustCompile(`([0-9]+)(?:\.([0-9]+))?(ms|s|m|h|d|w)`)
	sizeRE       = regexp.MustCompile(SizePattern)
	number       = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)
	looseWord    = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ]+)$`)
)

var durations = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}

var words = map[string]string{
	"sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
	"millisecond": "ms", "milliseconds": "ms", "msec": "ms",
}

// Duration reads 15s, 1m30s, 500ms, 7d. Units: ms s m h d w. A bare number is refused, with its value in seconds as
// what was probably meant.
func Duration(text string) (time.Duration, error) {
	if !durationRE.MatchString(text) {
		return 0, &Error{Message: fmt.Sprintf("%s is no duration", quoted(text)), Meant: meantDuration(text)}
	}
	var sum float64
	var exact time.Duration
	for _, p := range durationPart.FindAllStringSubmatch(text, -1) {
		u := durations[p[3]]
		whole, err := strconv.ParseInt(p[1], 10, 64)
		frac := 0.0
		if p[2] != "" {
			frac, _ = strconv.ParseFloat("0."+p[2], 64) // digits only: cannot fail
		}
		sum += (float64(whole) + frac) * float64(u)
		if err != nil || sum > math.MaxInt64/2 {
			return 0, &Error{Message: fmt.Sprintf("%s is longer than any clock runs", quoted(text)), cause: ErrRange}
		}
		exact += time.Duration(whole)*u + time.Duration(math.Round(frac*float64(u)))
	}
	return exact, nil
}

func meantDuration(text string) string {
	t := strings.ToLower(strings.TrimSpace(text))
	if number.MatchString(t) {
		return t + "s"
	}
	if m := looseWord.FindStringSubmatch(t); m != nil {
		if u := words[m[2]]; u != "" {
			return m[1] + u
		}
		if durations[m[2]] > 0 {
			return m[1] + m[2]
		}
	}
	return ""
}

// FormatDuration writes d so that Duration reads it again: 1m30s, 7d, 500ms. Below a millisecond it rounds.
func FormatDuration(d time.Duration) string {
	d = d.Round(time.Millisecond)
	if d <= 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []string{"d", "h", "m", "s", "ms"} {
		if n := d / durations[u]; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u)
			d -= n * durations[u]
		}
	}
	return b.String()
}

var sizes = []struct {
	unit  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// Size reads 50MB (1000s) and 512MiB (1024s) as bytes. A bare number is refused.
func Size(text string) (int64, error) {
	if !sizeRE.MatchString(text) {
		return 0, &Error{Message: fmt.Sprintf("%s is no size", quoted(text)), Meant: meantSize(text)}
	}
	digits := strings.TrimRight(text, "BKMGTi")
	n, err := strconv.ParseFloat(digits, 64)
	for _, s := range sizes {
		if s.unit == text[len(digits):] {
			n *= float64(s.bytes)
		}
	}
	if err != nil || n > math.MaxInt64/2 {
		return 0, &Error{Message: fmt.Sprintf("%s is larger than any disk", quoted(text)), cause: ErrRange}
	}
	return int64(math.Round(n)), nil
}

func meantSize(text string) string {
	t := strings.TrimSpace(text)
	if number.MatchString(t) {
		return t + "B"
	}
	m := looseWord.FindStringSubmatch(t)
	if m == nil {
		return ""
	}
	for _, s := range sizes {
		if strings.EqualFold(s.unit, m[2]) || strings.EqualFold(strings.TrimSuffix(s.unit, "B"), m[2]) && s.unit != "B" {
			if strings.Contains(strings.ToLower(m[2]), "i") == strings.Contains(s.unit, "i") {
				return m[1] + s.unit
			}
		}
	}
	return ""
}

// FormatSize writes n in the largest unit that divides it: 50MB, 512MiB, 1001B.
func FormatSize(n int64) string {
	if n <= 0 {
		return "0B"
	}
	best := ""
	for _, s := range sizes {
		if n%s.bytes == 0 {
			if t := fmt.Sprintf("%d%s", n/s.bytes, s.unit); best == "" || len(t) < len(best) {
				best = t
			}
		}
	}
	return best
}

// quoted clips what may be of any length.
func quoted(text string) string {
	if r := []rune(text); len(r) > 60 {
		text = string(r[:60]) + "…"
	}
	return strconv.Quote(text)
}
