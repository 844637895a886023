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
	if format == "systemd" {
		service := "ExecStart=/bin/sleep 9\n"
		value, ok := map[string]string{"ExecStart": "/bin/true", "Type": "oneshot", "Environment": "A=b", "EnvironmentFile": "-/none", "Restart": "always", "KillSignal": "SIGINT", "UMask": "0077",
			"User": "www-data", "CPUQuota": "150%", "After": "network.target"}[key]
		if !ok {
			value = "7"
		}
		if key != "" {
			value = key + "=" + value + "\n"
		} else {
			value = ""
		}
		if section == "Service" {
			return "x.service\n[Service]\n" + service + value, true
		}
		return "x.service\n[Service]\n" + service + "[" + section + "]\n" + value, true
	}
	if format == "compose" {
		value, ok := map[string]string{"environment": "[A=b]", "depends_on": "[y]", "healthcheck": "{test: [CMD, x]}", "restart": "always", "ports": "[\"80:80\"]", "stop_signal": "SIGINT", "stop_grace_period": "3s",
			"tty": "true", "stdin_open": "true", "mem_limit": "5m", "deploy": "{replicas: 2}", "env_file": "[a]", "command": "other", "entrypoint": "other", "build": "./other"}[key]
		if !ok {
			value = "7"
		}
		body := "compose.yaml\nservices:\n  y: {build: ., command: y}\n  x:\n"
		if key != "build" {
			body += "    build: .\n"
		}
		if key != "command" {
			body += "    command: sleep 9\n"
		}
		if key != "" {
			body += "    " + key + ": " + value + "\n"
		}
		return body, true
	}
	if format == "process-compose" {
		value, ok := map[string]string{"environment": "[A=b]", "depends_on": "{y: {condition: process_started}}", "availability": "{restart: always}", "readiness_probe": "{exec: {command: x}}", "liveness_probe": "{http_get: {port: 80}}",
			"shutdown": "{signal: 2}", "disabled": "true", "is_tty": "true", "env_file": "[a]", "working_dir": "/srv", "command": "other"}[key]
		if !ok {
			value = "7"
		}
		body := "process-compose.yaml\nprocesses:\n  y: {command: y}\n  x:\n"
		if key != "command" {
			body += "    command: sleep 9\n"
		}
		if key != "" {
			body += "    " + key + ": " + value + "\n"
		}
		return body, true
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
