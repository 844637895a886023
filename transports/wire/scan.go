package wire

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// scanner walks over JSON and checks it: grammar, escapes with their surrogate pairs, depth, and that no object has a
// name twice, however it is spelled. encoding/json takes the last of two equal names, so that whoever filters on the first
// one would see another message than the one that is carried out.
type scanner struct {
	b      []byte
	keys   []span // names of the objects that are open
	text   []byte // names that had escapes, decoded
	deep   bool   // nested deeper than MaxDepth
	double bool   // an object has a name twice
	many   bool   // more names than MaxMembers
}

// span is a name: a piece of the line, or of scanner.text.
type span struct {
	off, len uint32
	decoded  bool
}

func (s *scanner) reset(b []byte) {
	s.b, s.keys, s.text = b, s.keys[:0], s.text[:0]
	s.deep, s.double, s.many = false, false, false
}

func (s *scanner) space(i int) int {
	for i < len(s.b) && (s.b[i] == ' ' || s.b[i] == '\t' || s.b[i] == '\r' || s.b[i] == '\n') {
		i++
	}
	return i
}

// value gives the index after the value that begins at i, or -1 where there is none. The value is depth levels down.
func (s *scanner) value(i, depth int) int {
	if i >= len(s.b) {
		return -1
	}
	switch c := s.b[i]; {
	case c == '"':
		end, _ := s.str(i)
		return end
	case c == '{' || c == '[':
		switch {
		case depth > MaxDepth:
			s.deep = true
			return s.skip(i)
		case c == '{':
			return s.object(i, depth, nil)
		default:
			return s.array(i, depth)
		}
	case c == '-' || '0' <= c && c <= '9':
		return s.number(i)
	case c == 't':
		return s.word(i, "true")
	case c == 'f':
		return s.word(i, "false")
	case c == 'n':
		return s.word(i, "null")
	}
	return -1
}

// object walks over the object at i and hands each member to take, if there is one.
func (s *scanner) object(i, depth int, take func(name, value []byte)) int {
	base, text := len(s.keys), len(s.text)
	if i = s.space(i + 1); i < len(s.b) && s.b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(s.b) || s.b[i] != '"' {
			return -1
		}
		end, plain := s.str(i)
		if end < 0 {
			return -1
		}
		name := s.name(i+1, end-1, plain)
		if i = s.space(end); i >= len(s.b) || s.b[i] != ':' {
			return -1
		}
		from := s.space(i + 1)
		if i = s.value(from, depth+1); i < 0 {
			return -1
		}
		if take != nil {
			take(name, s.b[from:i])
		}
		if i = s.space(i); i >= len(s.b) {
			return -1
		}
		switch s.b[i] {
		case ',':
			i = s.space(i + 1)
		case '}':
			s.close(base, text)
			return i + 1
		default:
			return -1
		}
	}
}

func (s *scanner) array(i, depth int) int {
	if i = s.space(i + 1); i < len(s.b) && s.b[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, depth+1); i < 0 {
			return -1
		}
		if i = s.space(i); i >= len(s.b) {
			return -1
		}
		switch s.b[i] {
		case ',':
			i = s.space(i + 1)
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

// skip finds the end of something too deep to be taken, so that the id behind it can still be answered. Only its
// strings and brackets count.
func (s *scanner) skip(i int) int {
	for open := 0; i < len(s.b); {
		switch s.b[i] {
		case '"':
			end, _ := s.str(i)
			if end < 0 {
				return -1
			}
			i = end
			continue
		case '{', '[':
			open++
		case '}', ']':
			if open--; open == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

func (s *scanner) word(i int, w string) int {
	if len(s.b)-i < len(w) || string(s.b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

func (s *scanner) digits(i int) int {
	from := i
	for i < len(s.b) && '0' <= s.b[i] && s.b[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

func (s *scanner) number(i int) int {
	if s.b[i] == '-' {
		i++
	}
	if i < len(s.b) && s.b[i] == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return -1
	}
	if i < len(s.b) && s.b[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return -1
		}
	}
	if i < len(s.b) && (s.b[i] == 'e' || s.b[i] == 'E') {
		i++
		if i < len(s.b) && (s.b[i] == '+' || s.b[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// str gives the index after the string at i, or -1, and whether it is free of escapes.
func (s *scanner) str(i int) (end int, plain bool) {
	plain = true
	for i++; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			return i + 1, plain
		case c < 0x20:
			return -1, false
		case c == '\\':
			plain = false
			if i++; i >= len(s.b) {
				return -1, false
			}
			switch s.b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				unit := hex4(s.b, i+1)
				if unit < 0 || 0xDC00 <= unit && unit < 0xE000 {
					return -1, false
				}
				i += 4
				if 0xD800 <= unit && unit < 0xDC00 { // only with its other half
					if i+2 >= len(s.b) || s.b[i+1] != '\\' || s.b[i+2] != 'u' {
						return -1, false
					}
					if low := hex4(s.b, i+3); low < 0xDC00 || low >= 0xE000 {
						return -1, false
					}
					i += 6
				}
			default:
				return -1, false
			}
		}
	}
	return -1, false
}

// name remembers a member's name and gives it decoded.
func (s *scanner) name(from, to int, plain bool) []byte {
	if len(s.keys) >= MaxMembers {
		s.many = true
		return s.b[from:to]
	}
	if plain {
		s.keys = append(s.keys, span{off: uint32(from), len: uint32(to - from)})
		return s.b[from:to]
	}
	at := len(s.text)
	s.text = unescape(s.text, s.b[from:to])
	s.keys = append(s.keys, span{off: uint32(at), len: uint32(len(s.text) - at), decoded: true})
	return s.text[at:]
}

// close ends an object whose names begin at base.
func (s *scanner) close(base, text int) {
	keys := s.keys[base:]
	if len(keys) <= 12 {
		for i := range keys {
			for j := range i {
				s.double = s.double || bytes.Equal(s.bytes(keys[i]), s.bytes(keys[j]))
			}
		}
	} else {
		slices.SortFunc(keys, func(a, b span) int { return bytes.Compare(s.bytes(a), s.bytes(b)) })
		for i := 1; i < len(keys); i++ {
			s.double = s.double || bytes.Equal(s.bytes(keys[i-1]), s.bytes(keys[i]))
		}
	}
	s.keys, s.text = s.keys[:base], s.text[:text]
}

func (s *scanner) bytes(k span) []byte {
	if k.decoded {
		return s.text[k.off : k.off+k.len]
	}
	return s.b[k.off : k.off+k.len]
}

func hex4(b []byte, i int) int {
	if i+4 > len(b) {
		return -1
	}
	n := 0
	for _, c := range b[i : i+4] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | int(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | int(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return n
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape appends the text of a string that str has found good.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			dst = append(dst, s[i])
		case s[i+1] == 'u':
			r := rune(hex4(s, i+2))
			i += 5
			if 0xD800 <= r && r < 0xDC00 {
				r = (r-0xD800)<<10 + rune(hex4(s, i+3)-0xDC00) + 0x10000
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default:
			i++
			dst = append(dst, escapes[s[i]])
		}
	}
	return dst
}
