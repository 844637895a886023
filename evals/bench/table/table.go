// Package table is what is printed: a row a figure, a column a contender.
package table

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Table is what is printed: a row a figure, a column a contender.
type Table struct {
	Columns []string
	rows    []*Row
}

// Row is one figure. Its floor is what design asks of omnitron.
type Row struct {
	what  string
	cells map[string]string
	Floor string
	OK    *bool // nil: nothing is asked
}

// Row gives the row of a figure, made when it is asked for first.
func (t *Table) Row(what, floor string) *Row {
	for _, r := range t.rows {
		if r.what == what {
			return r
		}
	}
	r := &Row{what: what, Floor: floor, cells: map[string]string{}}
	t.rows = append(t.rows, r)
	return r
}

// Set puts a figure into a column; reached says whether that is what is asked for, and counts for omnitron only.
func (r *Row) Set(column string, reached bool, format string, args ...any) {
	r.cells[column] = fmt.Sprintf(format, args...)
	if column == "omnitron" && r.Floor != "" {
		r.OK = &reached
	}
}

// Print writes the table so that it reads well as text and as Markdown.
func (t *Table) Print(w io.Writer) {
	columns := slices.Clone(t.Columns)
	for _, r := range t.rows { // the calls have contenders of their own
		for c := range r.cells {
			if !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
	}
	slices.SortStableFunc(columns, func(a, b string) int { return weight(a) - weight(b) })
	lines := [][]string{append(append([]string{""}, columns...), "asked", "")}
	for _, r := range t.rows {
		line := []string{r.what}
		for _, c := range columns {
			line = append(line, r.cells[c])
		}
		verdict := ""
		if r.OK != nil {
			verdict = map[bool]string{true: "ok", false: "over"}[*r.OK]
		}
		lines = append(lines, append(line, r.Floor, verdict))
	}
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, c := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	for n, l := range lines {
		for i, c := range l {
			fmt.Fprintf(w, "| %s%s ", c, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)))
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for _, wide := range widths {
				fmt.Fprintf(w, "|%s", strings.Repeat("-", wide+2))
			}
			fmt.Fprintln(w, "|")
		}
	}
}

// weight puts omnitron last, whatever else there is.
func weight(column string) int {
	if column == "omnitron" {
		return 1
	}
	return 0
}

// Spread is a sample of durations.
type Spread []time.Duration

// At gives a quantile.
func (s Spread) At(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// Median gives the middle.
func (s Spread) Median() time.Duration { return s.At(0.5) }

// Millis shows a duration in milliseconds.
func Millis(d time.Duration) string {
	switch ms := float64(d) / 1e6; {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.2f s", ms/1000)
	}
}

// MB shows a number of bytes in MB.
func MB(n int64) string {
	if n < 10_000_000 && n > -10_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d MB", n/1e6)
}
