// Package level finds the level that a line of output gives itself: in JSON, in logfmt, and in the formats that common
// logging libraries print. It looks at the first bytes of a line only and never fails; a line without a level has none.
package level

import "bytes"

// Level orders levels. None is not a low level: the line says nothing.
type Level uint8

// The levels.
const (
	None Level = iota
	Trace
	Debug
	Info
	Warn
	Error
	Fatal
)

var names = [...]string{"", "trace", "debug", "info", "warn", "error", "fatal"}

func (l Level) String() string { return names[l] }

// Names lists what Parse takes, in order.
func Names() []string { return names[Trace:] }

// Parse gives the level of one of Names; ok is false for anything else.
func Parse(name string) (l Level, ok bool) {
	for i, n := range names {
		if i > 0 && n == name {
			return Level(i), true
		}
	}
	return None, false
}

// Reach bounds how far into a line Of looks.
const Reach = 512

// Of gives the level of a line.
func Of(line []byte) Level {
	if len(line) == 0 || line[0] == ' ' || line[0] == '\t' {
		return None // a continuation, whatever it says
	}
	if len(line) > Reach {
		line = line[:Reach]
	}
	if line[0] == '{' {
		return ofJSON(line)
	}
	if l := ofPrefix(line); l != None {
		return l
	}
	return ofWords(line)
}

var keys = [][]byte{[]byte(`"level"`), []byte(`"severity"`), []byte(`"lvl"`), []byte(`"levelname"`), []byte(`"log.level"`)}

// ofJSON looks for a level key on the top level of the object; a cut line is good enough.
func ofJSON(line []byte) Level {
	depth := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(line, i)
			if depth == 1 {
				if v, ok := value(line, end); ok {
					for _, k := range keys {
						if bytes.EqualFold(line[i:end], k) {
							return ofValue(v)
						}
					}
				}
			}
			i = end - 1
		}
	}
	return None
}

// stringEnd is the index behind the string that opens at i.
func stringEnd(line []byte, i int) int {
	for j := i + 1; j < len(line); j++ {
		switch line[j] {
		case '\\':
			j++
		case '"':
			return j + 1
		}
	}
	return len(line)
}

// value gives what stands behind the colon at i, if there is a colon.
func value(line []byte, i int) ([]byte, bool) {
	rest := bytes.TrimLeft(line[i:], " \t")
	if len(rest) == 0 || rest[0] != ':' {
		return nil, false
	}
	return bytes.TrimLeft(rest[1:], " \t"), true
}

// ofValue reads a JSON value: a word, or a number as pino and bunyan write it.
func ofValue(v []byte) Level {
	if len(v) > 0 && v[0] == '"' {
		end := stringEnd(v, 0)
		return word(bytes.Trim(v[1:end], `"`))
	}
	n, digits := 0, 0
	for digits < len(v) && digits < 4 && v[digits] >= '0' && v[digits] <= '9' {
		n = n*10 + int(v[digits]-'0')
		digits++
	}
	switch {
	case digits == 0:
		return None
	case n >= 60:
		return Fatal
	case n >= 10:
		return Level(n / 10)
	default:
		return syslog(n)
	}
}

// syslog maps severities 0 to 7.
func syslog(severity int) Level {
	return [...]Level{Fatal, Fatal, Fatal, Error, Warn, Info, Info, Debug, None, None}[severity]
}

// ofPrefix knows formats in which the level is not a word: <4>text, klog's E0102 03:04:05, and what runtimes print when
// a program dies.
func ofPrefix(line []byte) Level {
	switch c := line[0]; {
	case c == '<':
		n := 0
		for i := 1; i < len(line) && i < 5; i++ {
			switch d := line[i]; {
			case d >= '0' && d <= '9':
				n = n*10 + int(d-'0')
			case d == '>' && i > 1 && n < 192:
				return syslog(n % 8)
			default:
				return None
			}
		}
	case (c == 'I' || c == 'W' || c == 'E' || c == 'F') && len(line) > 6 && line[5] == ' ' && isDigits(line[1:5]) && isDigits(line[6:7]):
		switch c {
		case 'I':
			return Info
		case 'W':
			return Warn
		case 'E':
			return Error
		}
		return Fatal
	case c == 'p' && bytes.HasPrefix(line, []byte("panic: ")), c == 'f' && bytes.HasPrefix(line, []byte("fatal error: ")):
		return Fatal
	case c == 'T' && bytes.HasPrefix(line, []byte("Traceback (most recent call last)")):
		return Error
	}
	// TypeError: …, java.lang.IllegalStateException: …, Uncaught Error: …
	if i := bytes.IndexByte(line, ':'); i > 0 && (i+1 == len(line) || line[i+1] == ' ' || line[i+1] == '\n') {
		head := bytes.TrimPrefix(line[:i], []byte("Uncaught "))
		if len(head) > 0 && bytes.IndexByte(head, ' ') < 0 && head[0] >= 'A' && (bytes.HasSuffix(head, []byte("Error")) || bytes.HasSuffix(head, []byte("Exception"))) {
			return Error
		}
	}
	return None
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// maxWords bounds how many words a level may stand behind: time stamps, hosts, logger names.
const maxWords = 8

// ofWords looks for a word that is a level and is marked as one: by a key (level=warn), by brackets ([warn], <error>),
// by capitals (WARN, ERROR:), or by a colon where the message begins (warning: …).
func ofWords(line []byte) Level {
	for i, n := 0, 0; i < len(line) && n < maxWords; n++ {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		start := i
		for i < len(line) && !isSpace(line[i]) {
			if line[i] == '"' && i > start && line[i-1] == '=' { // a quoted logfmt value is one word
				i = stringEnd(line, i)
				continue
			}
			i++
		}
		if l := ofToken(line[start:i]); l != None {
			return l
		}
	}
	return None
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '|' || c == '\r' || c == '\n' || c == ','
}

var logfmtKeys = [][]byte{[]byte("level"), []byte("lvl"), []byte("severity"), []byte("levelname")}

func ofToken(t []byte) Level {
	if len(t) < 3 || len(t) > 64 && bytes.IndexByte(t, '[') < 0 {
		return None
	}
	if eq := bytes.IndexByte(t, '='); eq > 0 {
		for _, k := range logfmtKeys {
			if bytes.EqualFold(t[:eq], k) {
				return word(bytes.Trim(t[eq+1:], `"`))
			}
		}
		return None
	}
	t = skipEscapes(t)
	if open := bytes.IndexByte(t, '['); open >= 0 { // [warn], 10:00:01[warn], [core:error], [WARN]:
		if end := bytes.IndexByte(t[open:], ']'); end > 0 {
			inner := t[open+1 : open+end]
			if c := bytes.LastIndexByte(inner, ':'); c >= 0 {
				inner = inner[c+1:]
			}
			return word(inner)
		}
		t = t[open+1:]
	}
	bare := bytes.TrimRight(bytes.Trim(t, "()<>*]"), ":-")
	colon := len(bare) < len(t) && t[len(t)-1] == ':'
	if i := bytes.IndexByte(bare, ':'); i > 0 { // ERROR:root:message
		bare, colon = bare[:i], true
	}
	switch {
	case len(bare) < 3 || len(bare) > 11:
		return None
	case isUpper(bare), t[0] == '<' || t[0] == '(', colon:
		return word(bare)
	}
	return None
}

// skipEscapes removes colours around a word.
func skipEscapes(t []byte) []byte {
	for len(t) > 2 && t[0] == 0x1b && t[1] == '[' {
		i := bytes.IndexByte(t, 'm')
		if i < 0 {
			return t
		}
		t = t[i+1:]
	}
	if i := bytes.IndexByte(t, 0x1b); i > 0 {
		t = t[:i]
	}
	return t
}

func isUpper(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// word gives the level that a word names, whatever its case.
func word(w []byte) Level {
	if len(w) < 3 || len(w) > 11 {
		return None
	}
	var low [11]byte
	for i, c := range w {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	switch string(low[:len(w)]) {
	case "trace", "trc", "verbose", "finest", "silly":
		return Trace
	case "debug", "dbg", "fine", "debu":
		return Debug
	case "info", "inf", "information", "notice", "log":
		return Info
	case "warn", "warning", "wrn":
		return Warn
	case "error", "err", "severe", "eror":
		return Error
	case "fatal", "critical", "crit", "panic", "emerg", "alert", "ftl", "emergency":
		return Fatal
	}
	return None
}
