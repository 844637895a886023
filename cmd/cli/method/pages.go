package method

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/omnitron-dev/omnitron/core/journal"
)

// paged reports whether the command shows lines of output however many pages they are, because its answer is not one
// document whose reader can go on himself.
func (c *Command) paged() bool {
	return c.paint != nil && !c.Session.Whole() && !tabular(c.Session.Options())
}

// pages shows as many whole lines as were asked for. Pages come the newest first and are shown the oldest first, so they
// are read before the first is shown.
func (c *Command) pages(ctx context.Context, in map[string]any) error {
	ctx, cancel := c.Session.Bounded(ctx)
	defer cancel()
	var all pile
	defer all.close()
	t := tally{left: journal.DefaultLimit, open: map[origin]bool{}}
	if n, ok := in["limit"].(int64); ok {
		t.left = int(n)
	}
	next, err := c.collect(ctx, in, &t, &all)
	if err != nil {
		return err
	}
	if in["grep"] == nil { // else a line has only the pieces that match
		for _, o := range slices.Collect(maps.Keys(t.open)) {
			if next == "" {
				break
			}
			rest := maps.Clone(in)
			delete(rest, "project") // the name is whole
			delete(rest, "stack")
			rest["names"], rest["stream"], rest["cursor"], rest["limit"] = []any{o.name()}, o.Stream, next, journal.MaxLimit
			one := tally{open: map[origin]bool{o: true}}
			if _, err := c.collect(ctx, rest, &one, &all); err != nil {
				return err
			}
		}
	}
	text := c.itemText()
	return all.each(func(item json.RawMessage) error { return c.Session.ShowItem(ctx, item, c.Spec.Out, text) })
}

// collect reads pages until the tally is full, and gives where older ones go on: "" when there are none. Pieces in
// front of the last line are not looked for but in the streams of a tally that wants nothing else.
func (c *Command) collect(ctx context.Context, in map[string]any, t *tally, all *pile) (next string, err error) {
	in = maps.Clone(in)
	for whole := t.left > 0; ; {
		raw, err := c.Session.Read(ctx, c.Spec.ID(), in)
		if err != nil {
			return "", err
		}
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"next_cursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return "", fmt.Errorf("cannot read the lines: %w", err)
		}
		wanted, err := t.take(page.Items)
		if err != nil {
			return "", err
		}
		if err := all.add(wanted); err != nil {
			return "", err
		}
		if page.Next == "" || t.left == 0 && (whole || len(t.open) == 0) {
			return page.Next, nil
		}
		in["cursor"] = page.Next
		if t.left > 0 && len(t.open) == 0 {
			in["limit"] = t.left
		} else {
			in["limit"] = journal.MaxLimit // how many pieces the line has is not known
		}
	}
}

// origin is the stream that an item comes from.
type origin struct {
	Project, Stack, App, Process string
	Instance                     int
	Stream                       string
}

func (o origin) name() string {
	return fmt.Sprintf("%s/%s/%s:%s#%d", o.Project, o.Stack, o.App, o.Process, o.Instance)
}

// tally counts lines from the newest to older ones.
type tally struct {
	left int             // lines that are still wanted
	open map[origin]bool // streams of whose oldest line the beginning has not come yet
}

// take gives the items of a page that are wanted. All pieces of a line are one; a note of missing output is none.
func (t *tally) take(items []json.RawMessage) (wanted []json.RawMessage, err error) {
	for _, raw := range slices.Backward(items) {
		var it struct {
			origin
			Kind               string
			Partial, Continues bool
		}
		if err := json.Unmarshal(raw, &it); err != nil {
			return nil, fmt.Errorf("cannot read a line: %w", err)
		}
		same := t.open[it.origin] && it.Partial
		if delete(t.open, it.origin); !same && t.left == 0 {
			continue
		}
		if !same && it.Kind == "" {
			t.left--
		}
		if it.Continues {
			t.open[it.origin] = true
		}
		wanted = append(wanted, raw)
	}
	slices.Reverse(wanted)
	return wanted, nil
}

// pile keeps pages to be taken from the top: the uppermost in memory, all others in a file that has no name.
type pile struct {
	top    []json.RawMessage
	below  []int // how long each page in the file is
	file   *os.File
	length int64
}

func (p *pile) add(page []json.RawMessage) error {
	if len(page) == 0 {
		return nil
	}
	if len(p.top) > 0 {
		if err := p.store(); err != nil {
			return fmt.Errorf("cannot keep lines until they are shown: %w", err)
		}
	}
	p.top = page
	return nil
}

// store moves the uppermost page into the file.
func (p *pile) store() error {
	if p.file == nil {
		f, err := os.CreateTemp("", "omnitron")
		if err != nil {
			return err
		}
		p.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	size, w := 0, bufio.NewWriter(p.file)
	for _, item := range p.top {
		n, _ := w.Write(item) // what fails, Flush says again
		size += n
	}
	p.below, p.length = append(p.below, size), p.length+int64(size)
	return w.Flush()
}

// each hands out the items, the oldest first.
func (p *pile) each(do func(json.RawMessage) error) error {
	for _, item := range p.top {
		if err := do(item); err != nil {
			return err
		}
	}
	at := p.length
	for _, size := range slices.Backward(p.below) {
		at -= int64(size)
		for d := json.NewDecoder(io.NewSectionReader(p.file, at, int64(size))); ; {
			var item json.RawMessage
			err := d.Decode(&item)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("cannot read the lines again: %w", err)
			}
			if err := do(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pile) close() {
	if p.file != nil {
		p.file.Close() // it is gone with that
	}
}
