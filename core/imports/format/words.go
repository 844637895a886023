package format

import "strings"

// Split takes a command line apart as Python's shlex does: blanks between words, quotes, and \ before a character. false
// when a quote is not closed.
func Split(line string) (words []string, ok bool) {
	var word strings.Builder
	in, any := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case in == '\'' && c != '\'' || in == '"' && c != '"' && c != '\\':
			word.WriteByte(c)
		case c == '\\' && i+1 < len(line):
			i++
			if in == '"' && line[i] != '"' && line[i] != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(line[i])
			any = true
		case c == '\\':
			return nil, false
		case in != 0: // its end
			in = 0
		case c == '\'' || c == '"':
			in, any = c, true
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			if any {
				words = append(words, word.String())
				word.Reset()
			}
			any = false
		default:
			word.WriteByte(c)
			any = true
		}
	}
	if any {
		words = append(words, word.String())
	}
	return words, in == 0
}
