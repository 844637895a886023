package imports

import (
	"encoding/json"

	"github.com/omnitron-dev/omnitron/core/imports/draft"
)

type noteT = draft.Note

// values that keys of the formats are given where "1" would be nothing that shows.
var values = map[string]string{
	"command": "cat -", "process_name": "other", "environment": "A=b", "numprocs": "2", "autostart": "false", "startsecs": "7", "autorestart": "true", "exitcodes": "0,2",
	"stopsignal": "HUP", "umask": "027", "user": "www-data", "directory": "/srv",
}

func valueOf(key string) string {
	if v, ok := values[key]; ok {
		return v
	}
	return "1"
}

// fixtureOf gives a file of a format with a key: its name in the first line. "" is the file without the key.
func fixtureOf(format, section, key string) (string, bool) {
	line := func(sep string) string {
		if key == "" {
			return ""
		}
		return key + sep + valueOf(key) + "\n"
	}
	switch format + " " + section {
	case "supervisord program":
		command := "command = sleep 9\n"
		if key == "numprocs_start" {
			command = "command = sleep %(process_num)d\nnumprocs = 2\n"
		}
		return "supervisord.conf\n[program:x]\n" + command + line(" = "), true
	case "supervisord supervisord":
		return "supervisord.conf\n[supervisord]\n" + line(" = ") + "[program:x]\ncommand = sleep 9\n", true
	}
	if format == "pm2" && section == "app" {
		app := map[string]any{"name": "x", "script": "./x.js", "exec_mode": "fork"}
		switch key {
		case "":
		case "ignore_watch", "watch_delay":
			app[key], app["watch"] = "9", true
		case "exec", "cmd", "command": // in place of script
			delete(app, "script")
			app[key] = "./other.js"
		case "name", "script", "exec_mode":
			app[key] = "cluster"
		case "autorestart", "autostart":
			app[key] = false
		case "watch", "wait_ready", "execute_command":
			app[key] = true
		case "env":
			app[key] = map[string]string{"A": "b"}
		case "interpreter", "exec_interpreter":
			app[key] = "python3"
		case "instances":
			app[key] = 3
		default:
			app[key] = 7
		}
		text, _ := json.Marshal(map[string]any{"apps": []any{app}})
		return "ecosystem.json\n" + string(text), true
	}
	return "", false
}
