package machine

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// Crontab is a crontab: each line is a oneshot with a schedule.
var Crontab = format.Format{
	Name: "crontab", About: "a crontab, of a user (crontab -l) or of the system (/etc/crontab, cron.d)",
	Match: func(base, _ string) bool {
		return base == "crontab" || strings.HasSuffix(base, ".crontab") || strings.HasSuffix(base, ".cron")
	},
	Read: readCrontab,
}

var (
	cronVariable = regexp.MustCompile(`^\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?\s*=\s*(.*?)\s*$`)
	cronField    = regexp.MustCompile(`^[0-9A-Za-z*,/~-]+$`)
	cronNames    = map[string]string{"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *"}
)

func readCrontab(r *format.Reading) error {
	system := filepath.Base(r.Folder()) == "cron.d" || r.Path == "/etc/crontab"
	var env []source.Pair
	shell, zone, home, any := "", "", "~", false
	for i, line := range source.Lines(r.Text) {
		at, bare := r.At(i+1), strings.TrimSpace(line)
		if bare == "" || bare[0] == '#' {
			continue
		}
		if m := cronVariable.FindStringSubmatch(line); m != nil {
			value := m[2]
			if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
				value = value[1 : n-1]
			}
			switch m[1] {
			case "SHELL":
				shell = value
			case "CRON_TZ":
				zone = value
			case "MAILTO", "MAILFROM":
				r.Drop(at, m[1], "output is kept, and not sent: omnitron logs")
			case "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING":
				r.Drop(at, m[1], "it is about the mail, and output is kept, and not sent: omnitron logs")
			case "RANDOM_DELAY":
				r.Drop(at, m[1], "a schedule starts at its time")
			case "HOME": // a program starts there
				if value != "" {
					home = value
				}
				fallthrough
			default:
				env = slices.DeleteFunc(slices.Clone(env), func(p source.Pair) bool { return p.Key == m[1] })
				env = append(env, source.Pair{Place: at, Key: m[1], Value: &source.Node{Place: at, Kind: source.Scalar, Text: value}})
			}
			continue
		}
		when, user, command, err := cronLine(at, bare, system)
		if err != nil {
			return err
		}
		text, ok := cronCommand(command)
		if !ok {
			r.Drop(at, command, "what follows a % is given to the program as its input, which cannot be said here")
			continue
		}
		any = true
		words := strings.Fields(text)
		if i := slices.Index(words, "&&"); words[0] == "cd" && i > 0 && i+1 < len(words) {
			words = words[i+1:]
		}
		a := r.App(at, strings.TrimSuffix(filepath.Base(words[0]), filepath.Ext(words[0])))
		if shell == "" || shell == "/bin/sh" {
			a.Set(at, "command", "command", draft.Text(text))
		} else {
			a.Set(at, "command", "command", format.Argv([]string{shell, "-c", text}))
		}
		a.Set(at, "", "cwd", draft.Text(home))
		if user != "" {
			a.Set(at, "user", "user", draft.Text(user))
		}
		for _, v := range env {
			a.Env(v.Place, v.Key, v.Key, draft.Text(v.Value.Text))
		}
		a.Set(at, "", "oneshot", draft.Word("true"))
		if when == "@reboot" {
			a.Changed(at, when, "it runs when the app is brought up, and again when the machine has been started anew")
			continue
		}
		schedule(a, at, when, when, zone)
	}
	if any {
		r.Differs(r.At(0), "environment", "cron gives a program PATH=/usr/bin:/bin and little else; here PATH is that of the shell that ran up, unless env sets it")
		r.Differs(r.At(0), "overlap", "cron starts a program again while it still runs; a schedule skips that run")
	}
	return nil
}

// schedule gives an app its times. One that cannot have them yet is not enabled: up would run it at once.
func schedule(a *draft.App, at source.Place, what, cron, zone string) *draft.Setting {
	a.Set(at, what, "schedule.cron", draft.Text(cron))
	if zone != "" {
		a.Set(at, "time zone", "schedule.timezone", draft.Text(zone))
	}
	off := a.Set(at, "", "enabled", draft.Word("false"))
	off.Else = a.Get("schedule")
	return a.Get("schedule")
}

func cronLine(at source.Place, line string, system bool) (when, user, command string, err error) {
	fields := 5
	if line[0] == '@' {
		fields = 1
	}
	var parts []string
	rest := line
	for range fields {
		i := strings.IndexAny(rest, " \t")
		if i < 0 {
			return "", "", "", at.Wrong("%.60q is no line of a crontab", line)
		}
		parts = append(parts, rest[:i])
		rest = strings.TrimLeft(rest[i:], " \t")
	}
	when = strings.Join(parts, " ")
	if fields == 1 {
		if when != "@reboot" {
			var ok bool
			if when, ok = cronNames[when]; !ok {
				return "", "", "", at.Wrong("%.60q is no time of a crontab", parts[0])
			}
		}
	} else if slices.ContainsFunc(parts, func(p string) bool { return !cronField.MatchString(p) }) {
		return "", "", "", at.Wrong("%.60q are no times of a crontab", when)
	}
	if system {
		i := strings.IndexAny(rest, " \t")
		if i < 0 {
			return "", "", "", at.Wrong("%.60q has no user, or no command", line)
		}
		user, rest = rest[:i], strings.TrimLeft(rest[i:], " \t")
	}
	if strings.TrimSpace(rest) == "" || strings.Trim(rest, " \t%") == "" {
		return "", "", "", at.Wrong("%.60q has no command", line)
	}
	return when, user, rest, nil
}

// cronCommand takes the \ off each \%; false when a bare % is left.
func cronCommand(text string) (string, bool) {
	const mark = "\x01"
	text = strings.ReplaceAll(text, `\%`, mark)
	if strings.Contains(text, "%") {
		return "", false
	}
	return strings.ReplaceAll(text, mark, "%"), true
}
