package render

import (
	"encoding/base64"
	"hash/fnv"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Line gives an item of a stream as one line: its columns, one after the other.
func Line(v any, t reflect.Type, o Options) string {
	obj, ok := v.(Object)
	if !ok {
		return Format(v, "", o.Now)
	}
	if n, ok := obj.Get("dropped").(interface{ String() string }); ok && len(obj) == 1 {
		return o.Style.Paint(Warn, "▲ "+n.String()+" items were lost: this reader was too slow")
	}
	all := Columns(t)
	if len(all) == 0 {
		all = guess([]any{v})
	}
	var parts []string
	for _, c := range chosen(all, o.Columns, o.Wide) {
		if blank(obj.Get(c.Name)) {
			continue
		}
		text, color := Format(obj.Get(c.Name), c.Unit, o.Now), Plain
		switch {
		case c.Unit == "time":
			color = Dim
		case stateful(c.Name) || c.Name == "type":
			_, color = o.Style.mark(text)
		}
		parts = append(parts, o.Style.Paint(color, text))
	}
	return strings.Join(parts, " ")
}

// Log is how lines of applications' output are shown.
type Log struct {
	Style  Style
	Raw    bool // the bytes as printed: no prefix, nothing escaped
	Bare   bool // no prefix
	Stamps bool // the whole time stamp instead of the clock
	Width  int  // of the widest prefix so far; grows
	broken bool // the line before was a part without an end
}

// palette are the colours that prefixes take turns in; red and yellow keep their meaning.
var palette = []string{"36", "32", "34", "35", "96", "92", "94", "95"}

// Line gives one line of output with its line end; a part of a very long line has none.
func (l *Log) Line(obj Object) string {
	text, partial := obj.Text("text"), obj.Get("partial") == true
	if kind := obj.Text("kind"); kind != "" {
		return l.gap(obj, kind)
	}
	if l.Raw {
		if bytes, err := base64.StdEncoding.DecodeString(obj.Text("raw")); err == nil && len(bytes) > 0 {
			text = string(bytes)
		}
		if partial {
			return text
		}
		return text + "\n"
	}
	lead := l.lead(obj)
	if l.broken {
		lead = ""
	}
	l.broken = partial
	text = Escape(text)
	switch obj.Text("level") {
	case "error", "fatal", "panic":
		text = l.Style.Paint(Bad, text)
	case "warn", "warning":
		text = l.Style.Paint(Warn, text)
	case "debug", "trace":
		text = l.Style.Paint(Dim, text)
	}
	if partial {
		return lead + text
	}
	return lead + text + "\n"
}

// gap says what is missing between two lines.
func (l *Log) gap(obj Object, kind string) string {
	what := "some output is missing here"
	if n, err := strconv.ParseFloat(Format(obj.Get("lost_bytes"), "", time.Time{}), 64); err == nil && n > 0 {
		what = Bytes(n) + " of output were lost here"
	}
	if kind == "blocked" || kind == "resumed" {
		what = "the disk is full: output " + kind
	}
	if l.Raw {
		return ""
	}
	return l.lead(obj) + l.Style.Paint(Warn, "▲ "+what) + "\n"
}

func (l *Log) lead(obj Object) string {
	var b strings.Builder
	if at, err := time.Parse(time.RFC3339Nano, obj.Text("at")); err == nil {
		layout := time.TimeOnly
		if l.Stamps {
			layout = "2006-01-02T15:04:05.000Z07:00"
		}
		b.WriteString(l.Style.Paint(Dim, at.Local().Format(layout)) + " ")
	}
	if l.Bare {
		return b.String()
	}
	name := Source(obj)
	l.Width = max(l.Width, Width(name))
	bar := "│"
	if obj.Text("stream") == "err" {
		bar = l.Style.Paint(Bad, "┃")
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	color := palette[h.Sum32()%uint32(len(palette))]
	b.WriteString(l.Style.Paint(color, pad(name, l.Width, false)) + " " + bar + " ")
	return b.String()
}

// Source names what printed a line as shortly as it is unique in its app: app, app:process or app:process#n.
func Source(obj Object) string {
	name := obj.Text("app")
	process, n := obj.Text("process"), Format(obj.Get("instance"), "", time.Time{})
	if process != "" && process != name {
		name += ":" + process
	}
	if n != none && n != "0" && n != "1" {
		if process == obj.Text("app") {
			name += ":" + process
		}
		name += "#" + n
	}
	return Escape(name)
}
