package field

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

// Parse turns typed text into the JSON value of the field. Fault: invalid, with the flag or argument named.
func (f Field) Parse(text string, now time.Time) (any, error) {
	v, err := f.parse(text, now)
	if err != nil {
		name := "--" + f.Flag()
		if f.Arg != "" {
			name = "<" + f.Flag() + ">"
		}
		e := fault.New(fault.Invalid, "%s: %v", name, err).WithReason("bad_value")
		e.Problems = []fault.Problem{{Path: f.Name, Message: err.Error(), Allowed: f.Enum, Near: fault.Near(text, f.Enum)}}
		return nil, e
	}
	return v, nil
}

func (f Field) parse(text string, now time.Time) (any, error) {
	t := f.base()
	if f.many() {
		if t.Kind() == reflect.Map {
			key, value, ok := strings.Cut(text, "=")
			if !ok || key == "" {
				return nil, fmt.Errorf("%q is not key=value", text)
			}
			return [2]string{key, value}, nil
		}
		f.Type = t.Elem()
		return f.parse(text, now)
	}
	if unit, ok := f.unit(); ok {
		d, err := Duration(text, unit)
		if err != nil {
			return nil, err
		}
		return f.rounded(float64(d) / float64(unit))
	}
	switch {
	case f.bytes():
		n, err := Size(text)
		return n, err
	case f.moment():
		return Moment(text, now)
	case t.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return b, nil
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		return n, nil
	case f.numeric():
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case t.Kind() == reflect.String:
		if len(f.Enum) > 0 && !contains(f.Enum, text) {
			return nil, fmt.Errorf("%q is none of %s", text, strings.Join(f.Enum, ", "))
		}
		return text, nil
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%q is not JSON", text)
	}
	return json.RawMessage(text), nil
}

// rounded gives a number of units as the field's type can hold it.
func (f Field) rounded(n float64) (any, error) {
	switch f.base().Kind() {
	case reflect.Float32, reflect.Float64:
		return n, nil
	}
	if n != float64(int64(n)) {
		return nil, fmt.Errorf("needs a whole number of its unit (%s)", f.Name[strings.LastIndexByte(f.Name, '_')+1:])
	}
	return int64(n), nil
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

// Duration reads 90, 1.5, 10m, 1h30m and 2d; a bare number counts units.
func Duration(text string, unit time.Duration) (time.Duration, error) {
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 && n*float64(unit) < float64(1<<62) {
		return time.Duration(n * float64(unit)), nil
	}
	if days, rest, ok := strings.Cut(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			d := time.Duration(n) * 24 * time.Hour
			if rest == "" {
				return d, nil
			}
			r, err := time.ParseDuration(rest)
			if err == nil && r >= 0 {
				return d + r, nil
			}
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is not a duration such as 30s, 10m or 2h", text)
	}
	return d, nil
}

// Size reads 1000, 50MB and 2GiB: KB is 1000, KiB 1024.
func Size(text string) (int64, error) {
	units := []struct {
		suffix string
		factor float64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
	}
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !(n >= 0 && n*u.factor < 1<<62) { // NaN is neither
			break
		}
		return int64(n * u.factor), nil
	}
	return 0, fmt.Errorf("%q is not a size such as 50MB or 2GiB", text)
}

// Moment reads a point in time: a duration ago, a date, a clock time of today, or RFC 3339.
func Moment(text string, now time.Time) (string, error) {
	if d, err := Duration(text, time.Second); err == nil {
		return now.Add(-d).Format(time.RFC3339Nano), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t.Format(time.RFC3339Nano), nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location()).Format(time.RFC3339Nano), nil
		}
	}
	return "", fmt.Errorf("%q is neither a duration ago (10m), a time (15:04, 2006-01-02 15:04) nor RFC 3339", text)
}
