package node_test

import (
	"encoding/json"
	"testing"

	"github.com/omnitron-dev/omnitron/core/imports/importtest"
	"github.com/omnitron-dev/omnitron/core/imports/node"
)

func TestGolden(t *testing.T) { importtest.Golden(t) }

func TestRefused(t *testing.T) {
	importtest.Refused(t,
		[3]string{"ecosystem.config.js", "\nmodule.exports = {apps: [}", "ecosystem.config.js:2: "},
		[3]string{"ecosystem.json", "{\n\"apps\": [1]}", "ecosystem.json:2: "},
		[3]string{"ecosystem.config.yaml", "apps:\n  - name: a\n   script: x\n", "ecosystem.config.yaml:"},
	)
}

func TestPM2Keys(t *testing.T) {
	importtest.Keys(t, node.PM2, func(_, key string) (string, string) {
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
		text, err := json.Marshal(map[string]any{"apps": []any{app}})
		if err != nil {
			t.Fatal(err)
		}
		return "ecosystem.json", string(text)
	})
}

func TestPackageKeys(t *testing.T) {
	importtest.Keys(t, node.PackageJSON, func(_, key string) (string, string) {
		root := map[string]any{"scripts": map[string]string{"start": "x"}}
		switch key {
		case "":
		case "scripts":
			root[key] = map[string]string{"dev": "x"}
		case "packageManager":
			root[key] = "pnpm@9.0.0"
		default:
			root[key] = "seven"
		}
		text, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		return "package.json", string(text)
	})
}
