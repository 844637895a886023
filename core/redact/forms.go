package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf16"
)

// wraps are the lengths at which programs break long base64: MIME and openssl.
var wraps = [...]int{76, 64}

// each gives the forms in which a secret may be written.
func each(value string, give func(form)) {
	whole := strings.TrimRight(value, "\r\n")
	plainForms(whole, give)
	base64Forms(whole, give)
	if whole != value {
		base64Forms(value, give)
	}
	for text := range urls(whole) {
		give(form{text: text})
	}
	if !strings.Contains(whole, "\n") {
		return
	}
	plainForms(strings.ReplaceAll(whole, "\n", "\r\n"), give)
	for line := range strings.SplitSeq(whole, "\n") {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") { // the frame of a PEM text is no secret
			plainForms(line, give)
		}
	}
}

// plainForms gives a text as it is and as JSON, in the spellings that are about.
func plainForms(text string, give func(form)) {
	give(form{text: text})
	quoted := quote(text, false)
	give(form{text: quoted})
	give(form{text: quote(text, true)})
	give(form{text: strings.ReplaceAll(quoted, "/", `\/`)})
	if ascii := asciiOnly(quoted); ascii != quoted {
		give(form{text: ascii})
	}
}

// quote gives a text as it stands between the quotes of a JSON string.
func quote(text string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if e.Encode(text) != nil { // a string can always be encoded
		return text
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// asciiOnly escapes what is not ASCII, as Python does.
func asciiOnly(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r < 0x80 {
			b.WriteRune(r)
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, u)
		}
	}
	return b.String()
}

// base64Forms gives a text in both alphabets, by itself and as a part of something longer, at each of the three places
// where it may begin there, and in the pieces of broken lines.
func base64Forms(text string, give func(form)) {
	if len(text) < Shortest {
		return // it would be found in too many others
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		full := enc.EncodeToString([]byte(text))
		give(form{text: full})
		for shift := range 3 {
			inner := enc.EncodeToString(append(make([]byte, shift), text...))
			from := (shift*8 + 5) / 6         // characters that other bytes have a part in
			to := (shift + len(text)) * 8 / 6 // and at the end
			give(form{text: inner[from:to], wide: true})
		}
		for _, width := range wraps {
			for at := 0; len(full) > width && at < len(full); at += width {
				give(form{text: full[at:min(at+width, len(full))]})
			}
		}
	}
}

// urls gives a text as it stands in URLs, as several libraries write it.
func urls(text string) map[string]bool {
	all := map[string]bool{}
	query := url.QueryEscape(text)
	spaced := strings.ReplaceAll(query, "+", "%20")
	component := strings.NewReplacer("%21", "!", "%27", "'", "%28", "(", "%29", ")", "%2A", "*").Replace(spaced) // encodeURIComponent
	for _, t := range []string{query, spaced, component, url.PathEscape(text), url.User(text).String()} {
		all[t], all[lowerHex(t)] = true, true
	}
	return all
}

// lowerHex writes the digits of percent signs in lower case.
func lowerHex(text string) string {
	b := []byte(text)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}
