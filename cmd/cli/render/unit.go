package render

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// none stands for a value that is not there.
const none = "–"

// Format gives a scalar as a person reads it. Unit is one of bytes, ms, s, percent, time or "".
func Format(v any, unit string, now time.Time) string {
	switch v := v.(type) {
	case nil:
		return none
	case string:
		if unit == "time" {
			return clock(v, now)
		}
		if v == "" {
			return none
		}
		return Escape(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case json.Number:
		return number(v, unit)
	case []any:
		if unit == "argv" {
			return command(v)
		}
		return joined(v, unit, now, ", ")
	case Object:
		var parts []any
		for _, m := range v {
			switch m.Value.(type) {
			case nil, Object, []any:
			default:
				parts = append(parts, m.Value)
			}
		}
		return joined(parts, "", now, ":")
	}
	return Escape(fmt.Sprint(v))
}

// plain are the bytes that no shell makes anything of.
var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// command writes words as they would be typed.
func command(words []any) string {
	typed := make([]string, len(words))
	for i, w := range words {
		word := fmt.Sprint(w)
		if !plain.MatchString(word) {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		typed[i] = Escape(word)
	}
	return strings.Join(typed, " ")
}

func joined(list []any, unit string, now time.Time, sep string) string {
	if len(list) == 0 {
		return none
	}
	parts := make([]string, 0, len(list))
	for _, v := range list {
		if v != "" {
			parts = append(parts, Format(v, unit, now))
		}
	}
	return strings.Join(parts, sep)
}

func number(n json.Number, unit string) string {
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	switch unit {
	case "bytes":
		return Bytes(f)
	case "ms":
		return Span(time.Duration(f * float64(time.Millisecond)))
	case "s":
		return Span(time.Duration(f * float64(time.Second)))
	case "percent":
		if f > 0 && f < 9.95 {
			return strconv.FormatFloat(f, 'f', 1, 64) + "%"
		}
		return strconv.FormatFloat(f, 'f', 0, 64) + "%"
	}
	return n.String()
}

// Bytes gives a size in decimal units, as sizes are written in omnitron.yaml.
func Bytes(f float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for math.Abs(f) >= 999.5 && i < len(units)-1 {
		f /= 1000
		i++
	}
	if i > 0 && math.Abs(f) < 9.95 {
		return fmt.Sprintf("%.1f %s", f, units[i])
	}
	return fmt.Sprintf("%.0f %s", f, units[i])
}

// Span gives a duration in its two largest units.
func Span(d time.Duration) string {
	neg := ""
	if d < 0 {
		neg, d = "-", -d
	}
	const day = 24 * time.Hour
	switch {
	case d == 0:
		return "0s"
	case d < time.Millisecond:
		return neg + fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return neg + fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second && d%time.Second != 0:
		return neg + fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return neg + fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return neg + two(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < day:
		return neg + two(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	}
	return neg + two(int(d/day), "d", int(d.Hours())%24, "h")
}

func two(a int, ua string, b int, ub string) string {
	if b == 0 {
		return strconv.Itoa(a) + ua
	}
	return strconv.Itoa(a) + ua + strconv.Itoa(b) + ub
}

// clock gives a moment as short as it can be told apart from now.
func clock(s string, now time.Time) string {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Escape(s)
	}
	if t.IsZero() {
		return none
	}
	t = t.In(now.Location())
	switch {
	case now.IsZero():
		return t.Format(time.RFC3339)
	case t.Year() == now.Year() && t.YearDay() == now.YearDay():
		return t.Format(time.TimeOnly)
	case t.Year() == now.Year():
		return t.Format("Jan _2 15:04")
	}
	return t.Format(time.DateOnly)
}
