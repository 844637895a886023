package node

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/omnitron-dev/omnitron/core/config/unit"
	"github.com/omnitron-dev/omnitron/core/imports/draft"
	"github.com/omnitron-dev/omnitron/core/imports/format"
	"github.com/omnitron-dev/omnitron/core/imports/source"
)

// pm2Keys is what becomes of the keys of an app.
var pm2Keys = map[string]format.Rule{
	"script": format.Done, "exec": format.Done, "cmd": format.Done, "command": format.Done, "args": format.Done, "name": format.Done, "interpreter": format.Done, "exec_interpreter": format.Done, "cwd": format.Done, "env": format.Done,
	"node_args": format.Done, "interpreter_args": format.Done, "interpreterArgs": format.Done, "instances": format.Done, "exec_mode": format.Done, "execute_command": format.No("exec_mode: fork says the same"),
	"wait_ready": format.Done, "listen_timeout": format.Done, "kill_timeout": format.Done, "autorestart": format.Done, "stop_exit_codes": format.Done, "restart_delay": format.Done, "exp_backoff_restart_delay": format.Done,
	"ignore_watch": format.Done, "watch_delay": format.Done, "port": format.Done,
	"watch": {To: func(f format.Field) {
		if on, ok := f.Node.Bool(); ok && !on {
			return
		}
		if words, ok := f.Node.Words(); ok && f.Node.Kind == source.List {
			f.Set("watch.paths", format.Argv(words))
		} else {
			f.Set("watch.paths", format.Argv([]string{"."}))
		}
		if n := f.All.Find("ignore_watch"); n != nil {
			if words, ok := n.Words(); ok {
				f.App.Set(n.Place, "ignore_watch", "watch.ignore", format.Argv(words))
			}
		}
		if n := f.All.Find("watch_delay"); n != nil {
			f.App.Set(n.Place, "watch_delay", "watch.debounce", draft.Word(n.Text+"ms"))
		}
	}},
	"watch_options":      format.No("only which paths are watched, and which are not, can be said"),
	"max_memory_restart": {To: func(f format.Field) { maxMemory(f) }},
	"max_restarts":       format.Whole("restart.maxRestarts"),
	"min_uptime": {To: func(f format.Field) {
		if n, err := strconv.ParseFloat(f.Node.Text, 64); err == nil && n >= 1 && n < 1e9 {
			f.Set("restart.resetAfter", format.Seconds(n/1000))
		} else {
			f.Set("restart.resetAfter", draft.Text(f.Node.Text))
		}
	}},
	"cron_restart": format.Text("restart.cron"),
	"cron":         format.Text("restart.cron"),
	"uid":          format.Text("user"),
	"user":         format.Text("user"),
	"gid":          format.Text("group"),
	"autostart": format.YesNo(func(f format.Field, on bool) {
		if !on {
			f.Set("enabled", draft.Word("false"))
		}
	}),
	"out_file": format.No(format.OwnLogs), "out": format.No(format.OwnLogs), "output": format.No(format.OwnLogs), "out_log": format.No(format.OwnLogs), "error_file": format.No(format.OwnLogs), "error": format.No(format.OwnLogs), "err": format.No(format.OwnLogs), "err_file": format.No(format.OwnLogs),
	"err_log": format.No(format.OwnLogs), "log_file": format.No(format.OwnLogs), "log": format.No(format.OwnLogs), "merge_logs": format.No(format.OwnLogs), "combine_logs": format.No(format.OwnLogs), "disable_logs": format.No(format.OwnLogs), "log_type": format.No(format.OwnLogs),
	"log_date_format": format.No("every line has its time"), "time": format.No("every line has its time"),
	"pid_file": format.No("omnitron ls shows the pid"), "pid": format.No("omnitron ls shows the pid"),
	"source_map_support": format.No("node_args can say --enable-source-maps"), "disable_source_map_support": format.No("node_args can say --enable-source-maps"),
	"shutdown_with_message": format.No("node: cluster sends the message; a program of its own gets the signal"),
	"instance_var":          format.No("OMNITRON_INSTANCE says which instance a program is, from 1"),
	"increment_var":         format.No("a port that is declared counts up from instance to instance"),
	"filter_env":            format.No("a program gets PATH, HOME and the like, and nothing else of the shell"),
	"namespace":             format.No("names take patterns, such as omnitron restart 'web*'"),
	"name_prefix":           format.No("names take patterns, such as omnitron restart 'web*'"),
	"append_env_to_name":    format.No("a stack is part of an app's key"),
	"force":                 format.No("the same program may run as several apps"),
	"vizion":                format.No("versions of the source are not looked at"),
	"automation":            format.No("nothing is put into the program"), "pmx": format.No("nothing is put into the program"), "trace": format.No("nothing is put into the program"),
	"disable_trace": format.No("nothing is put into the program"), "v8": format.No("nothing is put into the program"), "event_loop_inspector": format.No("nothing is put into the program"),
	"deep_monitoring": format.No("nothing is put into the program"), "io": format.No("nothing is put into the program"),
	"treekill":        format.No("everything that a program started is ended with it"),
	"kill_retry_time": format.No("what does not end in time is killed"),
	"windowsHide":     format.No("it is about Windows"), "username": format.No("the user of a program is user"), "write": format.No("it is about pm2's command line"),
	"post_update": format.No("pm2 pull is not there; build runs before a start"), "install_url": format.No("nothing is fetched"),
}

func maxMemory(f format.Field) {
	m := regexp.MustCompile(`^([0-9]+)([KMG]?)B?$`).FindStringSubmatch(strings.ToUpper(f.Node.Text))
	if m == nil {
		f.Left("it is no size that is understood here")
		return
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		f.Left("it is no size that is understood here")
		return
	}
	f.Set("restart.maxMemory", draft.Word(unit.FormatSize(n*map[string]int64{"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[m[2]])))
}
