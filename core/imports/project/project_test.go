package project_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/imports/importtest"
	"github.com/omnitron-dev/omnitron/core/imports/project"
)

func TestGolden(t *testing.T) { importtest.Golden(t) }

func TestRefused(t *testing.T) {
	importtest.Refused(t,
		[3]string{"Procfile", "web: run\n\nwhat is this\n", "Procfile:3: "},
		[3]string{"Procfile", "# nothing\n", "Procfile: there is no program"},
		[3]string{"Procfile", "web: a\xffb\n", "Procfile:1: the file is not UTF-8"},
		[3]string{"Procfile", "a: b\nweb: a\x00b\n", "Procfile:2: there is a NUL"},
	)
}

func TestComposeKeys(t *testing.T) {
	importtest.Keys(t, project.Compose, func(_, key string) (string, string) {
		value, ok := map[string]string{"environment": "[A=b]", "depends_on": "[y]", "healthcheck": "{test: [CMD, x]}", "restart": "always", "ports": "[\"80:80\"]", "stop_signal": "SIGINT", "stop_grace_period": "3s",
			"tty": "true", "stdin_open": "true", "mem_limit": "5m", "deploy": "{replicas: 2}", "env_file": "[a]", "command": "other", "entrypoint": "other", "build": "./other"}[key]
		if !ok {
			value = "7"
		}
		body := "services:\n  y: {build: ., command: y}\n  x:\n"
		if key != "build" {
			body += "    build: .\n"
		}
		if key != "command" {
			body += "    command: sleep 9\n"
		}
		if key != "" {
			body += "    " + key + ": " + value + "\n"
		}
		return "compose.yaml", body
	})
}

func TestProcessComposeKeys(t *testing.T) {
	importtest.Keys(t, project.ProcessCompose, func(_, key string) (string, string) {
		value, ok := map[string]string{"environment": "[A=b]", "depends_on": "{y: {condition: process_started}}", "availability": "{restart: always}", "readiness_probe": "{exec: {command: x}}", "liveness_probe": "{http_get: {port: 80}}",
			"shutdown": "{signal: 2}", "disabled": "true", "is_tty": "true", "env_file": "[a]", "working_dir": "/srv", "command": "other"}[key]
		if !ok {
			value = "7"
		}
		body := "processes:\n  y: {command: y}\n  x:\n"
		if key != "command" {
			body += "    command: sleep 9\n"
		}
		if key != "" {
			body += "    " + key + ": " + value + "\n"
		}
		return "process-compose.yaml", body
	})
}
