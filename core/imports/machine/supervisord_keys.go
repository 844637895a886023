package machine

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
)

// programKeys is what becomes of the keys of a [program:x].
var programKeys = map[string]format.Rule{
	"command": format.Done, // read before the others
	"process_name": {To: func(f format.Field) {
		if f.Node.Text != "%(program_name)s" && f.Node.Text != "%(program_name)s_%(process_num)02d" {
			f.Left("instances are called app#1, app#2 here")
		}
	}},
	"numprocs":       format.Done,
	"numprocs_start": format.Done,
	"directory":      format.Done,
	"environment":    format.Done,
	"priority":       format.No("it orders the starts without waiting; dependsOn waits for what is named"),
	"autostart": format.YesNo(func(f format.Field, on bool) {
		if !on {
			f.Set("enabled", draft.Word("false"))
		}
	}),
	"startsecs": format.Number(func(f format.Field, n float64) {
		switch again, ok := f.All.Find("autorestart").Bool(); {
		case n == 0 && ok && !again:
			f.Set("oneshot", draft.Word("true"))
		case n == 0:
			f.Set("ready.delay", draft.Word("1ms"))
		case n != 1:
			f.Set("ready.delay", format.Seconds(n))
		}
	}),
	"startretries": format.Whole("restart.maxRestarts"),
	"autorestart": {To: func(f format.Field) {
		switch on, ok := f.Node.Bool(); {
		case f.Node.Text == "unexpected": // on-failure, which is the default
		case ok && on:
			f.Set("restart.policy", draft.Word("always"))
		case ok:
			f.Set("restart.policy", draft.Word("never"))
		default:
			f.Left("it is none of true, false, unexpected")
		}
	}},
	"exitcodes": {To: func(f format.Field) {
		codes := strings.FieldsFunc(f.Node.Text, func(r rune) bool { return r == ',' || r == ' ' })
		if len(codes) == 1 && codes[0] == "0" {
			return
		}
		list := draft.Argv{}
		for _, c := range codes {
			if n, err := strconv.Atoi(c); err == nil && n >= 0 && n < 256 {
				list = append(list, draft.Word(c))
			}
		}
		f.Set("successCodes", list)
	}},
	"stopsignal":   format.Text("stop.signal"),
	"stopwaitsecs": format.Number(func(f format.Field, n float64) { f.Set("stop.timeout", format.Seconds(n)) }),
	"stopasgroup": format.YesNo(func(f format.Field, on bool) {
		if on {
			f.Changed("the signal goes to the program alone; whatever of its group is left after that is killed")
		}
	}),
	"killasgroup": format.YesNo(func(f format.Field, _ bool) { f.Changed("everything that the program ever started is killed") }),
	"user": {To: func(f format.Field) {
		f.Set("user", draft.Text(f.Node.Text))
		f.Changed("HOME, USER, LOGNAME and SHELL are that user's here; supervisord leaves its own")
	}},
	"umask":                   format.Text("umask"),
	"redirect_stderr":         format.YesNo(func(f format.Field, on bool) { merge(f, on) }),
	"stdout_logfile":          format.No(format.OwnLogs),
	"stderr_logfile":          format.No(format.OwnLogs),
	"stdout_logfile_maxbytes": {To: func(f format.Field) { maxBytes(f) }},
	"stderr_logfile_maxbytes": format.No("both streams are kept alike: logging.maxSize"),
	"stdout_logfile_backups":  format.Number(func(f format.Field, n float64) { f.Set("logging.maxFiles", format.Integer(n+1)) }),
	"stderr_logfile_backups":  format.No("both streams are kept alike: logging.maxFiles"),
	"stdout_capture_maxbytes": format.No("supervisord's own messages in the output are not understood"),
	"stderr_capture_maxbytes": format.No("supervisord's own messages in the output are not understood"),
	"stdout_events_enabled":   format.No("there are no event listeners; omnitron events follows what happens"),
	"stderr_events_enabled":   format.No("there are no event listeners; omnitron events follows what happens"),
	"stdout_syslog":           format.No(format.OwnLogs),
	"stderr_syslog":           format.No(format.OwnLogs),
	"serverurl":               format.No("nothing speaks supervisord's protocol here"),
}

// daemonKeys is what becomes of the keys of [supervisord]: those that programs inherit are carried with each of them.
var daemonKeys = map[string]format.Rule{
	"environment": format.Done, "directory": format.Done, "umask": format.Done,
	"user":             format.No("the user of the daemon is the one who starts it; user of a program is carried over"),
	"logfile":          format.No("the daemon's own log is in its home"),
	"logfile_maxbytes": format.No("the daemon's own log is in its home"),
	"logfile_backups":  format.No("the daemon's own log is in its home"),
	"loglevel":         format.No("it is about the daemon's own log"),
	"silent":           format.No("it is about the daemon's own log"),
	"pidfile":          format.No("the daemon's pid is in its home; omnitron daemon status shows it"),
	"nodaemon":         format.No("omnitron daemon run stays in the foreground"),
	"minfds":           format.No("limits.nofile is a setting of each app"),
	"minprocs":         format.No("it is about the daemon alone"),
	"nocleanup":        format.No("there are no AUTO log files"),
	"childlogdir":      format.No(format.OwnLogs),
	"strip_ansi":       format.No("omnitron logs escapes control characters unless --raw"),
	"identifier":       format.No("nothing speaks supervisord's protocol here"),
}

func merge(f format.Field, on bool) {
	if on {
		f.Set("logging.merge", draft.Word("true"))
	}
}

var bytesRE = regexp.MustCompile(`^([0-9]+)\s*(KB|MB|GB)?$`)

func maxBytes(f format.Field) {
	m := bytesRE.FindStringSubmatch(strings.ToUpper(f.Node.Text))
	if m == nil {
		f.Left("it is no size")
		return
	}
	n, err := strconv.ParseInt(m[1], 10, 40)
	if err != nil || n == 0 {
		f.Left("logs have a limit here; the default is 50MB a file")
		return
	}
	n *= map[string]int64{"": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[m[2]]
	f.Set("logging.maxSize", draft.Word(unit.FormatSize(n)))
}
