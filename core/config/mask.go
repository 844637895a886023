package config

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Masked stands for a value that is not shown.
const Masked = "••••••"

// secretName matches names whose values are not for everyone.
var secretName = regexp.MustCompile(`(?i)(^|[_.-])(key|secret|token|password|passwd|pass|pwd|credentials?|auth|cookie|salt|dsn)($|[_.-])|(password|secret|token|apikey|privatekey|accesskey|credentials)`)

// userinfo matches the password in URLs, wherever they stand in a text.
var userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@]*):([^\s/?#]*)@`)

// MaskValue gives the value of a variable as it may be shown: nothing of it when the name looks secret, and without
// the password of any URL in it.
func MaskValue(name, value string) string {
	if value != "" && secretName.MatchString(name) {
		return Masked
	}
	return MaskText(value)
}

// MaskText hides the passwords of URLs in a text.
func MaskText(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	text = userinfo.ReplaceAllString(text, "$1:"+Masked+"@")
	// A token as the user of a URL, with no password beside it.
	if u, err := url.Parse(text); err == nil && u.User != nil {
		if _, has := u.User.Password(); !has && len(u.User.Username()) >= 20 {
			return strings.Replace(text, u.User.String()+"@", Masked+"@", 1)
		}
	}
	return text
}

// Mask copies a definition with the values of secret-looking variables, and passwords in commands and checks, hidden.
func Mask(d *Definition) *Definition {
	out := *d
	out.Apps = slices.Clone(d.Apps)
	for i := range out.Apps {
		out.Apps[i].Processes = slices.Clone(out.Apps[i].Processes)
		for j := range out.Apps[i].Processes {
			p := &out.Apps[i].Processes[j]
			p.Env = maps.Clone(p.Env)
			for name, value := range p.Env {
				p.Env[name] = MaskValue(name, value)
			}
			p.Argv = maskAll(p.Argv)
			p.Ready.Probe = maskProbe(p.Ready.Probe)
			if p.Health != nil {
				h := *p.Health
				h.Probe = maskProbe(h.Probe)
				p.Health = &h
			}
		}
	}
	return &out
}

func maskProbe(p Probe) Probe {
	p.HTTP, p.Exec = MaskText(p.HTTP), maskAll(p.Exec)
	return p
}

// maskAll hides passwords of URLs in words, and the value of --token=x and of --token x.
func maskAll(words []string) []string {
	out := slices.Clone(words)
	for i, w := range words {
		out[i] = MaskText(w)
		if i > 0 && secretFlag(words[i-1]) && !strings.HasPrefix(w, "-") {
			out[i] = Masked
		}
		if name, _, found := strings.Cut(w, "="); found && secretFlag(name) {
			out[i] = name + "=" + Masked
		}
	}
	return out
}

func secretFlag(word string) bool {
	return strings.HasPrefix(word, "-") && !strings.Contains(word, "=") && secretName.MatchString(strings.TrimLeft(word, "-"))
}
