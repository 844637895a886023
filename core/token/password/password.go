// Package password says which passwords are good enough, and hashes them. The rules are those of NIST SP 800-63B-4 for a
// password that is the only factor: 15 characters at least, long ones welcome, no rules of composition, no change by the
// calendar, and none that everybody tries first.
package password

import (
	_ "embed"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/omnitron-dev/omnitron/core/fault"
	"golang.org/x/text/unicode/norm"
)

// The bounds of a password, in characters. The upper one only bounds the work.
const (
	Shortest = 15
	Longest  = 256
)

// common is the blocklist: the commonest passwords, from the frequency list "passwords" of zxcvbn 4.4.2 (MIT, Dan Wheeler
// and Dropbox), which was made of Mark Burnett's corpus of ten million leaked ones. Of it are here the first 10 000, and
// of the rest those of 12 characters and more.
//
//go:embed common.txt
var common string

// listed reports whether a text is a line of the blocklist. It is looked through as it stands: passwords are made seldom, and
// the list is short.
func listed(text string) bool {
	if strings.Contains(text, "\n") {
		return false
	}
	line := text + "\n"
	return strings.HasPrefix(common, line) || strings.Contains(common, "\n"+line)
}

// Normal is a password in the one form that is hashed, so that the same characters typed on another keyboard are the same.
func Normal(text string) string { return norm.NFC.String(text) }

// Check says why a password is not good enough; about are words that it must not be made of, such as the name of the
// account. Faults: invalid (weak_password).
func Check(text string, about ...string) error {
	weak := func(format string, args ...any) error {
		return fault.New(fault.Invalid, format, args...).WithReason("weak_password").WithHint("four words that have nothing to do with each other are good, and easy to keep")
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return weak("the password is not text")
	}
	text = Normal(text)
	switch n := utf8.RuneCountInString(text); {
	case n < Shortest:
		return weak("the password has %d characters, and %d are the least", n, Shortest)
	case n > Longest:
		return weak("the password has %d characters, and %d are the most", n, Longest)
	}
	plain := strings.ToLower(text)
	switch {
	case series(plain):
		return weak("the password is a series of characters")
	case known(plain):
		return weak("the password is one of the first that anybody tries, or made of one")
	}
	for _, word := range append(about, "omnitron") {
		word = strings.ToLower(word)
		if rest := strings.ReplaceAll(plain, word, ""); len(word) > 2 && rest != plain && (len(rest) < Shortest/2 || known(rest)) {
			return weak("the password is little more than %q", word)
		}
	}
	return nil
}

// series reports whether each character follows from the one before in the same way: aaaa, abcd, 9876.
func series(text string) bool {
	runes := []rune(text)
	steps := map[rune]int{}
	for i := 1; i < len(runes); i++ {
		steps[runes[i]-runes[i-1]]++
	}
	for _, step := range []rune{-1, 0, 1} {
		if steps[step] >= len(runes)-3 { // 1234567890 and on from 1 is one
			return true
		}
	}
	return false
}

// known reports whether a text is on the blocklist as it stands, as what it repeats, or with nothing around it but digits
// and signs.
func known(text string) bool {
	core := strings.TrimFunc(text, func(r rune) bool { return !unicode.IsLetter(r) })
	for _, t := range []string{text, core, unit(text), unit(core)} {
		if t == "" || listed(t) {
			return true
		}
	}
	return false
}

// unit is the shortest text whose repetition a text is.
func unit(text string) string {
	for n := 1; n <= len(text)/2; n++ {
		if times := len(text) / n; len(text)%n == 0 && strings.Repeat(text[:n], times) == text {
			return text[:n]
		}
	}
	return text
}
