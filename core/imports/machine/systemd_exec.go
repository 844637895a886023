package machine

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// unitWords takes a line of systemd apart: blanks between words, quotes around whole words or parts of them, \ before a
// character. false when a quote is not closed.
func unitWords(line string) ([]string, bool) {
	return format.Split(strings.ReplaceAll(line, `\x20`, `\ `))
}

var unitVariable = regexp.MustCompile(`\$(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*|\$)`)

// execValue makes an argv list of a command of systemd; where variables stand in it, a line for a shell that makes way for
// the program. What cannot be done is listed, and false.
func execValue(f format.Field, n *source.Node) (draft.Value, bool) {
	line := strings.TrimSpace(n.Text)
	for line != "" && strings.ContainsRune("@-:+!", rune(line[0])) {
		why := map[byte]string{'@': "a program is called by its own name", '-': "a failure is a failure", '+': "a program runs as its user", '!': "a program runs as its user", ':': ""}[line[0]]
		if why != "" {
			f.App.Left(n.Place, f.Key+" "+line[:1], why)
		}
		if line[0] == '@' {
			return nil, false
		}
		line = line[1:]
	}
	words, ok := unitWords(line)
	if !ok || len(words) == 0 {
		f.App.Left(n.Place, f.Key, "its words cannot be told apart")
		return nil, false
	}
	shell := false
	for i, w := range words {
		if words[i], ok = specifiers(f, w); !ok {
			f.App.Left(n.Place, f.Key, w+" has a specifier that is not understood here")
			return nil, false
		}
		for _, m := range unitVariable.FindAllString(words[i], -1) {
			shell = shell || m != "$$"
		}
		if words[i] == ";" {
			f.App.Left(n.Place, f.Key, "several commands in one line are not taken apart")
			return nil, false
		}
	}
	if !shell {
		for i := range words {
			words[i] = strings.ReplaceAll(words[i], "$$", "$")
		}
		return format.Argv(words), true
	}
	parts := []string{"exec"}
	for _, w := range words {
		parts = append(parts, shellWord(w))
	}
	return draft.Text(strings.Join(parts, " ")), true
}

// shellWord quotes a word for sh; $NAME alone stays bare, because systemd takes it apart at its blanks.
func shellWord(w string) string {
	if m := unitVariable.FindString(w); m == w && m != "$$" && !strings.HasPrefix(m, "${") {
		return m
	}
	var b strings.Builder
	last := 0
	literal := func(s string) {
		if s != "" {
			b.WriteString("'" + strings.ReplaceAll(s, "'", `'\''`) + "'")
		}
	}
	for _, m := range unitVariable.FindAllStringIndex(w, -1) {
		literal(w[last:m[0]])
		if v := w[m[0]:m[1]]; v == "$$" {
			literal("$")
		} else {
			b.WriteString(`"` + v + `"`)
		}
		last = m[1]
	}
	literal(w[last:])
	if b.Len() == 0 {
		return "''"
	}
	return b.String()
}

// specifiers replaces those of systemd that the unit's name decides.
func specifiers(f format.Field, text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	full := filepath.Base(f.Path)
	bare := strings.TrimSuffix(full, filepath.Ext(full))
	prefix, instance, _ := strings.Cut(bare, "@")
	known := map[byte]string{'%': "%", 'n': full, 'N': bare, 'p': prefix, 'i': instance, 'I': strings.ReplaceAll(instance, "-", "/"), 't': "/run", 'S': "/var/lib", 'C': "/var/cache", 'L': "/var/log", 'T': "/tmp", 'V': "/var/tmp"}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i++; i == len(text) {
			return text, false
		}
		v, ok := known[text[i]]
		if !ok {
			return text, false
		}
		b.WriteString(v)
	}
	return b.String(), true
}

var (
	calendarRE = regexp.MustCompile(`^(?:([A-Za-z,.]+)\s+)?(?:\*-(\*|[0-9]{1,2})-(\*|[0-9]{1,2})\s+)?(\*|[0-9]{1,2}|\*/[0-9]+|0/[0-9]+):(\*|[0-9]{1,2}|\*/[0-9]+|0/[0-9]+)(?::0?0)?$`)
	dayNames   = regexp.MustCompile(`^(?i:(mon|tue|wed|thu|fri|sat|sun)[a-z]*)(?:(\.\.|,)(?i:(mon|tue|wed|thu|fri|sat|sun)[a-z]*))?$`)
)

// calendar makes a line of cron of a calendar event of systemd, where the two mean the same.
func calendar(text string) (string, bool) {
	text = strings.TrimSpace(text)
	switch strings.ToLower(text) {
	case "minutely":
		return "* * * * *", true
	case "hourly", "daily", "monthly", "yearly", "annually":
		return cronNames["@"+strings.ToLower(text)], true
	case "weekly":
		return "0 0 * * 1", true
	}
	m := calendarRE.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	days := "*"
	if m[1] != "" {
		d := dayNames.FindStringSubmatch(m[1])
		if d == nil {
			return "", false
		}
		days = strings.ToLower(d[1])
		if d[3] != "" {
			days += map[string]string{"..": "-", ",": ","}[d[2]] + strings.ToLower(d[3])
		}
	}
	part := func(s string) string {
		switch {
		case s == "" || s == "*":
			return "*"
		case strings.HasPrefix(s, "0/"):
			return "*/" + s[2:]
		case strings.HasPrefix(s, "*/"):
			return s
		}
		n, _ := strconv.Atoi(s) // digits
		return strconv.Itoa(n)
	}
	if part(m[3]) != "*" && days != "*" { // cron takes either of the two, systemd both
		return "", false
	}
	return strings.Join([]string{part(m[5]), part(m[4]), part(m[3]), part(m[2]), days}, " "), true
}
