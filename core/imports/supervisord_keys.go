package imports

import (
	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"regexp"
	"strconv"
	"strings"
)

// programKeys is what becomes of the keys of a [program:x].
var programKeys = map[string]rule{
	"command": done, // read before the others
	"process_name": {to: func(f field) {
		if f.node.Text != "%(program_name)s" && f.node.Text != "%(program_name)s_%(process_num)02d" {
			f.left("instances are called app#1, app#2 here")
		}
	}},
	"numprocs":       done,
	"numprocs_start": done,
	"directory":      done,
	"environment":    done,
	"priority":       no("it orders the starts without waiting; dependsOn waits for what is named"),
	"autostart": yesno(func(f field, on bool) {
		if !on {
			f.set("enabled", draft.Word("false"))
		}
	}),
	"startsecs": number(func(f field, n float64) {
		switch again, ok := f.all.Find("autorestart").Bool(); {
		case n == 0 && ok && !again:
			f.set("oneshot", draft.Word("true"))
		case n == 0:
			f.set("ready.delay", draft.Word("1ms"))
		case n != 1:
			f.set("ready.delay", seconds(n))
		}
	}),
	"startretries": whole("restart.maxRestarts"),
	"autorestart": {to: func(f field) {
		switch on, ok := f.node.Bool(); {
		case f.node.Text == "unexpected": // on-failure, which is the default
		case ok && on:
			f.set("restart.policy", draft.Word("always"))
		case ok:
			f.set("restart.policy", draft.Word("never"))
		default:
			f.left("it is none of true, false, unexpected")
		}
	}},
	"exitcodes": {to: func(f field) {
		codes := strings.FieldsFunc(f.node.Text, func(r rune) bool { return r == ',' || r == ' ' })
		if len(codes) == 1 && codes[0] == "0" {
			return
		}
		list := draft.Argv{}
		for _, c := range codes {
			if n, err := strconv.Atoi(c); err == nil && n >= 0 && n < 256 {
				list = append(list, draft.Word(c))
			}
		}
		f.set("successCodes", list)
	}},
	"stopsignal":   text("stop.signal"),
	"stopwaitsecs": number(func(f field, n float64) { f.set("stop.timeout", seconds(n)) }),
	"stopasgroup": yesno(func(f field, on bool) {
		if on {
			f.changed("the signal goes to the program alone; whatever of its group is left after that is killed")
		}
	}),
	"killasgroup": yesno(func(f field, _ bool) { f.changed("everything that the program ever started is killed") }),
	"user": {to: func(f field) {
		f.set("user", draft.Text(f.node.Text))
		f.changed("HOME, USER, LOGNAME and SHELL are that user's here; supervisord leaves its own")
	}},
	"umask":                   text("umask"),
	"redirect_stderr":         yesno(func(f field, on bool) { f.merge(on) }),
	"stdout_logfile":          no(ownLogs),
	"stderr_logfile":          no(ownLogs),
	"stdout_logfile_maxbytes": {to: func(f field) { f.maxBytes() }},
	"stderr_logfile_maxbytes": no("both streams are kept alike: logging.maxSize"),
	"stdout_logfile_backups":  number(func(f field, n float64) { f.set("logging.maxFiles", integer(n+1)) }),
	"stderr_logfile_backups":  no("both streams are kept alike: logging.maxFiles"),
	"stdout_capture_maxbytes": no("supervisord's own messages in the output are not understood"),
	"stderr_capture_maxbytes": no("supervisord's own messages in the output are not understood"),
	"stdout_events_enabled":   no("there are no event listeners; omnitron events follows what happens"),
	"stderr_events_enabled":   no("there are no event listeners; omnitron events follows what happens"),
	"stdout_syslog":           no(ownLogs),
	"stderr_syslog":           no(ownLogs),
	"serverurl":               no("nothing speaks supervisord's protocol here"),
}

// daemonKeys is what becomes of the keys of [supervisord]: those that programs inherit are carried with each of them.
var daemonKeys = map[string]rule{
	"environment": done, "directory": done, "umask": done,
	"user":             no("the user of the daemon is the one who starts it; user of a program is carried over"),
	"logfile":          no("the daemon's own log is in its home"),
	"logfile_maxbytes": no("the daemon's own log is in its home"),
	"logfile_backups":  no("the daemon's own log is in its home"),
	"loglevel":         no("it is about the daemon's own log"),
	"silent":           no("it is about the daemon's own log"),
	"pidfile":          no("the daemon's pid is in its home; omnitron daemon status shows it"),
	"nodaemon":         no("omnitron daemon run stays in the foreground"),
	"minfds":           no("limits.nofile is a setting of each app"),
	"minprocs":         no("it is about the daemon alone"),
	"nocleanup":        no("there are no AUTO log files"),
	"childlogdir":      no(ownLogs),
	"strip_ansi":       no("omnitron logs escapes control characters unless --raw"),
	"identifier":       no("nothing speaks supervisord's protocol here"),
}

func (f field) merge(on bool) {
	if on {
		f.set("logging.merge", draft.Word("true"))
	}
}

var bytesRE = regexp.MustCompile(`^([0-9]+)\s*(KB|MB|GB)?$`)

func (f field) maxBytes() {
	m := bytesRE.FindStringSubmatch(strings.ToUpper(f.node.Text))
	if m == nil {
		f.left("it is no size")
		return
	}
	n, err := strconv.ParseInt(m[1], 10, 40)
	if err != nil || n == 0 {
		f.left("logs have a limit here; the default is 50MB a file")
		return
	}
	n *= map[string]int64{"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[m[2]]
	f.set("logging.maxSize", draft.Word(unit.FormatSize(n)))
}
