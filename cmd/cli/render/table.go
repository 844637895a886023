package render

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Options is how a person wants to see something.
type Options struct {
	Style   Style
	Width   int // columns of the terminal; 0: a pipe, tab-separated, nothing left out
	Wide    bool
	Columns []string
	Now     time.Time
}

// flexible is the width down to which a long column is shortened before whole columns are left out.
const flexible = 24

type cell struct{ text, color string }

// table writes rows below their headers, each line after indent, and says how many columns did not fit.
func table(w io.Writer, cols []Column, rows []any, o Options, indent string) {
	cells := make([][]cell, len(rows))
	for i, row := range rows {
		cells[i] = make([]cell, len(cols))
		obj, _ := row.(Object)
		for j, c := range cols {
			var v any = obj.Get(c.Name)
			if obj == nil {
				v = row
			}
			cells[i][j].text = Format(v, c.Unit, o.Now)
			if v != nil && c.Type == reflect.TypeFor[json.RawMessage]() { // the input of a call: without its keys it says little
				if text, err := json.Marshal(v); err == nil {
					cells[i][j].text = Escape(string(text))
				}
			}
			if stateful(c.Name) {
				cells[i][j].text, cells[i][j].color = o.Style.mark(cells[i][j].text)
			}
		}
	}
	if o.Width <= 0 {
		tabs(w, cols, cells)
		return
	}
	room, all := o.Width-Width(indent), len(cols)
	if o.Wide {
		room = 1 << 30
	}
	widths := measure(cols, cells)
	switch {
	case indent != "":
		cols, cells = filled(cols, cells)
		widths, all = measure(cols, cells), len(cols)
	case total(widths) > room: // rather what says nothing than what says something
		cols, cells = filled(cols, cells)
		widths = measure(cols, cells)
	}
	shown := fit(cols, widths, room)
	var b strings.Builder
	line := func(at func(j int) cell) {
		b.WriteString(indent)
		for k, j := range shown {
			c := at(j)
			text := Clip(c.text, widths[j])
			if k < len(shown)-1 || rightly(cols[j]) && text != "" {
				text = pad(text, widths[j], rightly(cols[j]))
			}
			if k > 0 {
				b.WriteString("  ")
			}
			b.WriteString(o.Style.Paint(c.color, text))
		}
		b.WriteByte('\n')
	}
	line(func(j int) cell { return cell{cols[j].Header, Dim} })
	for i := range cells {
		if indent == "" {
			line(func(j int) cell { return cells[i][j] })
			continue
		}
		parts := make([][]string, len(cols)) // below an object there is room downwards: nothing is cut
		height := 1
		for _, j := range shown {
			parts[j] = wrap(cells[i][j].text, widths[j])
			height = max(height, len(parts[j]))
		}
		for n := range height {
			line(func(j int) cell {
				if n < len(parts[j]) {
					return cell{parts[j][n], cells[i][j].color}
				}
				return cell{}
			})
		}
	}
	if n := all - len(shown); n > 0 {
		note := fmt.Sprintf("%d columns hidden, -o wide", n)
		if n == 1 {
			note = "1 column hidden, -o wide"
		}
		b.WriteString(indent + o.Style.Paint(Dim, note) + "\n")
	}
	io.WriteString(w, b.String())
}

// wrap gives a text as lines of a width. In a narrow column it stays one line.
func wrap(text string, width int) []string {
	if width < flexible {
		return []string{text}
	}
	var lines []string
	for line := range strings.SplitSeq(Fold(text, 0, width), "\n") {
		for Width(line) > width { // a word that is too long
			head := strings.TrimSuffix(Clip(line, width+1), "…")
			lines, line = append(lines, head), line[len(head):]
		}
		lines = append(lines, line)
	}
	return lines
}

// measure gives the width that each column needs.
func measure(cols []Column, cells [][]cell) []int {
	widths := make([]int, len(cols))
	for j, c := range cols {
		widths[j] = Width(c.Header)
		for i := range cells {
			widths[j] = max(widths[j], Width(cells[i][j].text))
		}
	}
	return widths
}

// total is the width of a line, two columns between two cells.
func total(widths []int) int {
	sum := 2 * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

// filled leaves out the columns in which no row says anything: below an object they are only noise.
func filled(cols []Column, cells [][]cell) ([]Column, [][]cell) {
	var keep []int
	for j := range cols {
		if slices.ContainsFunc(cells, func(row []cell) bool { return telling(row[j].text) }) {
			keep = append(keep, j)
		}
	}
	if len(keep) == 0 || len(keep) == len(cols) {
		return cols, cells
	}
	some := make([]Column, len(keep))
	rest := make([][]cell, len(cells))
	for k, j := range keep {
		some[k] = cols[j]
		for i := range cells {
			rest[i] = append(rest[i], cells[i][j])
		}
	}
	return some, rest
}

// telling reports whether a cell says anything.
func telling(text string) bool { return text != none && strings.TrimPrefix(text, "○ ") != "unknown" }

// tabs writes rows for a pipe: every column, one tab between two, no padding.
func tabs(w io.Writer, cols []Column, cells [][]cell) {
	var b strings.Builder
	for j, c := range cols {
		if j > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(c.Header)
	}
	b.WriteByte('\n')
	for _, row := range cells {
		for j, c := range row {
			if j > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(c.text)
		}
		b.WriteByte('\n')
	}
	io.WriteString(w, b.String())
}

// fit leaves out the columns of the lowest priority until the rest can be made to fit, then shortens the widest of
// them. It gives the indices of the columns to show and changes widths.
func fit(cols []Column, widths []int, room int) []int {
	shown := make([]int, len(cols))
	for j := range cols {
		shown[j] = j
	}
	need := func(limit int) int {
		sum := 2 * (len(shown) - 1)
		for _, j := range shown {
			sum += min(widths[j], limit)
		}
		return sum
	}
	for len(shown) > 1 && need(flexible) > room {
		worst := 0
		for k, j := range shown {
			if rank(cols[j]) >= rank(cols[shown[worst]]) {
				worst = k
			}
		}
		shown = append(shown[:worst], shown[worst+1:]...)
	}
	for over := need(1<<30) - room; over > 0; over-- {
		widest := shown[0]
		for _, j := range shown {
			if widths[j] > widths[widest] {
				widest = j
			}
		}
		if widths[widest] <= 1 {
			break
		}
		widths[widest]--
	}
	return shown
}

// rank orders columns for leaving out; one without a priority goes first.
func rank(c Column) int {
	if c.Priority == 0 {
		return 1 << 20
	}
	return c.Priority
}

// rightly reports whether a column's values stand at the right.
func rightly(c Column) bool {
	switch c.Unit {
	case "bytes", "ms", "s", "percent":
		return true
	}
	if t := deref(c.Type); t != nil {
		return t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64
	}
	return false
}
