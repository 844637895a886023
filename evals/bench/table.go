package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// table is what is printed: a row a figure, a column a contender.
type table struct {
	columns []string
	rows    []*row
}

// row is one figure. Its floor is what design asks of omnitron.
type row struct {
	what  string
	cells map[string]string
	floor string
	ok    *bool // nil: nothing is asked
}

// row gives the row of a figure, made when it is asked for first.
func (t *table) row(what, floor string) *row {
	for _, r := range t.rows {
		if r.what == what {
			return r
		}
	}
	r := &row{what: what, floor: floor, cells: map[string]string{}}
	t.rows = append(t.rows, r)
	return r
}

// set puts a figure into a column; reached says whether that is what is asked for, and counts for omnitron only.
func (r *row) set(column string, reached bool, format string, args ...any) {
	r.cells[column] = fmt.Sprintf(format, args...)
	if column == "omnitron" && r.floor != "" {
		r.ok = &reached
	}
}

// print writes the table so that it reads well as text and as Markdown.
func (t *table) print(w io.Writer) {
	columns := slices.Clone(t.columns)
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
		if r.ok != nil {
			verdict = map[bool]string{true: "ok", false: "over"}[*r.ok]
		}
		lines = append(lines, append(line, r.floor, verdict))
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

// spread is a sample of durations.
type spread []time.Duration

func (s spread) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (s spread) median() time.Duration { return s.at(0.5) }

func millis(d time.Duration) string {
	switch ms := float64(d) / 1e6; {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 1000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.2f s", ms/1000)
	}
}

func mb(n int64) string {
	if n < 10_000_000 && n > -10_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%d MB", n/1e6)
}
