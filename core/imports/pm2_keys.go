package imports

import (
	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/source"
	"regexp"
	"strconv"
	"strings"
)

// pm2Keys is what becomes of the keys of an app.
var pm2Keys = map[string]rule{
	"script": done, "exec": done, "cmd": done, "command": done, "args": done, "name": done, "interpreter": done, "exec_interpreter": done, "cwd": done, "env": done,
	"node_args": done, "interpreter_args": done, "interpreterArgs": done, "instances": done, "exec_mode": done, "execute_command": no("exec_mode: fork says the same"),
	"wait_ready": done, "listen_timeout": done, "kill_timeout": done, "autorestart": done, "stop_exit_codes": done, "restart_delay": done, "exp_backoff_restart_delay": done,
	"ignore_watch": done, "watch_delay": done, "port": done,
	"watch": {to: func(f field) {
		if on, ok := f.node.Bool(); ok && !on {
			return
		}
		if words, ok := f.node.Words(); ok && f.node.Kind == source.List {
			f.set("watch.paths", argv(words))
		} else {
			f.set("watch.paths", argv([]string{"."}))
		}
		if n := f.all.Find("ignore_watch"); n != nil {
			if words, ok := n.Words(); ok {
				f.app.Set(n.Place, "ignore_watch", "watch.ignore", argv(words))
			}
		}
		if n := f.all.Find("watch_delay"); n != nil {
			f.app.Set(n.Place, "watch_delay", "watch.debounce", draft.Word(n.Text+"ms"))
		}
	}},
	"watch_options":      no("only which paths are watched, and which are not, can be said"),
	"max_memory_restart": {to: func(f field) { f.pm2Memory() }},
	"max_restarts":       whole("restart.maxRestarts"),
	"min_uptime": {to: func(f field) {
		if n, err := strconv.ParseFloat(f.node.Text, 64); err == nil && n >= 1 && n < 1e9 {
			f.set("restart.resetAfter", seconds(n/1000))
		} else {
			f.set("restart.resetAfter", draft.Text(f.node.Text))
		}
	}},
	"cron_restart": text("restart.cron"),
	"cron":         text("restart.cron"),
	"uid":          text("user"),
	"user":         text("user"),
	"gid":          text("group"),
	"autostart": yesno(func(f field, on bool) {
		if !on {
			f.set("enabled", draft.Word("false"))
		}
	}),
	"out_file": no(ownLogs), "out": no(ownLogs), "output": no(ownLogs), "out_log": no(ownLogs), "error_file": no(ownLogs), "error": no(ownLogs), "err": no(ownLogs), "err_file": no(ownLogs),
	"err_log": no(ownLogs), "log_file": no(ownLogs), "log": no(ownLogs), "merge_logs": no(ownLogs), "combine_logs": no(ownLogs), "disable_logs": no(ownLogs), "log_type": no(ownLogs),
	"log_date_format": no("every line has its time"), "time": no("every line has its time"),
	"pid_file": no("omnitron ls shows the pid"), "pid": no("omnitron ls shows the pid"),
	"source_map_support": no("node_args can say --enable-source-maps"), "disable_source_map_support": no("node_args can say --enable-source-maps"),
	"shutdown_with_message": no("node: cluster sends the message; a program of its own gets the signal"),
	"instance_var":          no("OMNITRON_INSTANCE says which instance a program is, from 1"),
	"increment_var":         no("a port that is declared counts up from instance to instance"),
	"filter_env":            no("a program gets PATH, HOME and the like, and nothing else of the shell"),
	"namespace":             no("names take patterns, such as omnitron restart 'web*'"),
	"name_prefix":           no("names take patterns, such as omnitron restart 'web*'"),
	"append_env_to_name":    no("a stack is part of an app's key"),
	"force":                 no("the same program may run as several apps"),
	"vizion":                no("versions of the source are not looked at"),
	"automation":            no("nothing is put into the program"), "pmx": no("nothing is put into the program"), "trace": no("nothing is put into the program"),
	"disable_trace": no("nothing is put into the program"), "v8": no("nothing is put into the program"), "event_loop_inspector": no("nothing is put into the program"),
	"deep_monitoring": no("nothing is put into the program"), "io": no("nothing is put into the program"),
	"treekill":        no("everything that a program started is ended with it"),
	"kill_retry_time": no("what does not end in time is killed"),
	"windowsHide":     no("it is about Windows"), "username": no("the user of a program is user"), "write": no("it is about pm2's command line"),
	"post_update": no("pm2 pull is not there; build runs before a start"), "install_url": no("nothing is fetched"),
}

func (f field) pm2Memory() {
	m := regexp.MustCompile(`^([0-9]+)([KMG]?)B?$`).FindStringSubmatch(strings.ToUpper(f.node.Text))
	if m == nil {
		f.left("it is no size that is understood here")
		return
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		f.left("it is no size that is understood here")
		return
	}
	f.set("restart.maxMemory", draft.Word(unit.FormatSize(n*map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[m[2]])))
}
