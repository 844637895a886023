package config

import (
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// EnvVar is a variable that a person may set for us, for the documentation.
type EnvVar struct{ Name, Doc string }

// EnvVars is every variable that Omnitron reads. OMNITRON_HOME and OMNITRON_OUTPUT an app may be given; every other
// OMNITRON_ name is reserved.
var EnvVars = []EnvVar{
	{"OMNITRON_HOME", "home of the daemon, as --home; default ~/.omnitron"},
	{"OMNITRON_STACK", "stack, as --stack"},
	{"OMNITRON_OUTPUT", "output format, as -o"},
	{"OMNITRON_ACCESSIBLE", "set: nothing is drawn over itself, for screen readers"},
	{"NO_COLOR", "set: no colours"},
	{"TERM", "dumb: no colours, nothing is drawn over itself"},
	{"COLUMNS", "width of tables, instead of the terminal's"},
	{"CREDENTIALS_DIRECTORY", "of systemd: omnitron-vault-key in it is the key of the vault"},
	{"XDG_CONFIG_HOME", "where your units of systemd lie; default ~/.config"},
	{"XDG_RUNTIME_DIR", "where your systemd is reached; default /run/user/UID"},
	{"NOTIFY_SOCKET", "of systemd: where daemon run says that the daemon is ready"},
	{"HOME", "your own folder; the default home is in it"},
	{"PATH", "where programs are found"},
	{"USER", "your name: who signs in at a remote daemon unless --user says otherwise"},
	{"GOGC", "memory against work of the daemon, as of any Go program; default 50"},
}

// Home is where the daemon keeps its files: OMNITRON_HOME, else ~/.omnitron. "" when neither is known.
func Home(getenv func(string) string) string {
	if h := getenv("OMNITRON_HOME"); h != "" {
		return h
	}
	if h := getenv("HOME"); h != "" {
		return filepath.Join(h, ".omnitron")
	}
	return ""
}

// baseNames are the variables of the shell that every app gets; LC_* besides.
var baseNames = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"}

// identityNames belong to the person: an app with another user gets that user's from the supervisor.
var identityNames = []string{"HOME", "USER", "LOGNAME", "SHELL"}

func isBase(name string) bool {
	return slices.Contains(baseNames, name) || strings.HasPrefix(name, "LC_")
}

// DaemonEnv gives what a daemon that is started from a shell keeps of its variables: those that every app gets, ours,
// those of Go, and where credentials lie. It lives long, and what else a shell knows, passwords too, is not its business.
func DaemonEnv(environ []string) (keep []string) {
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if isBase(name) || name == "CREDENTIALS_DIRECTORY" || strings.HasPrefix(name, "OMNITRON_") || strings.HasPrefix(name, "GO") {
			keep = append(keep, e)
		}
	}
	return keep
}

// protocolNames are set by the supervisor where they apply, and mean the wrong process when inherited.
var protocolNames = []string{"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"}

// reserved reports whether a variable is the supervisor's to set.
func reserved(name string) bool {
	if slices.Contains(protocolNames, name) {
		return true
	}
	if !strings.HasPrefix(name, "OMNITRON_") {
		return false
	}
	// These only steer our own command line, when an app calls it.
	return name != "OMNITRON_HOME" && name != "OMNITRON_OUTPUT"
}

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

// MaskWords gives a command as it may be shown: without passwords of URLs and values of flags that look secret.
func MaskWords(words []string) []string { return maskAll(words) }

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
