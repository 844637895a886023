package moving

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// TestPM2 compares with pm2. It puts dozens of variables of its own into every program: those that the file names are compared.
func TestPM2(t *testing.T) {
	node := needs(t, "node")
	root, err := rig.Root()
	if err != nil {
		t.Fatal(err)
	}
	pm2 := filepath.Join(root, "evals", "moving", "pm2", "node_modules", "pm2", "bin", "pm2-runtime")
	if _, err := os.Stat(pm2); err != nil {
		t.Fatalf("this test needs pm2: make setup installs it: %v", err)
	}
	const server = "require('http').createServer((q, s) => s.end()).listen(process.env.PORT, '127.0.0.1')\n"
	for _, c := range []struct {
		name, file, text string
		want, ports      int
		live             bool // what pm2 jlist says is imported, and not the file
	}{
		{"a module", "ecosystem.config.js", `const path = require('path')
const common = { env: { T_LOG: 'in "fo"', T_N: 3 } }
module.exports = { apps: [
  { ...common, name: 'web', script: './server.js', exec_mode: 'fork', env: { ...common.env, PORT: @port@, T_DIR: path.basename(__dirname) } },
  { ...common, name: 'beat', script: 'beat.py', interpreter: 'python3', args: '--every "one second" -v' , cwd: './sub' },
] }
`, 2, 1, false},
		{"JSON", "ecosystem.json", `{"apps": [{"name": "sleeper", "script": "sleep", "args": ["1000"], "env": {"T_A": "$HOME ${X} $$"}},
  {"name": "Web Server", "script": "server.js", "exec_mode": "fork_mode", "node_args": ["--stack-trace-limit=20"], "env": {"PORT": "@port@"}}]}`, 2, 1, false},
		{"YAML", "ecosystem.config.yaml", "apps:\n  - name: sh\n    script: ./run.sh\n    args: a 'b c'\n    env: {T_YES: yes, T_TEXT: 'it: is'}\n  - script: 'exec sleep 1001'\n    name: line\n", 2, 0, false},
		{"what runs", "ecosystem.json", `{"apps": [{"name": "web", "script": "server.js", "exec_mode": "fork", "args": "a 'b c'", "env": {"PORT": "@port@", "T_A": "$HOME ${X} $$"}}, {"name": "s", "script": "sleep", "args": ["1004"], "env": {"T_B": "b"}}]}`, 2, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMove(t, c.want, c.ports, "")
			m.alike = func(s *seen) {
				// pm2 overwrites the command line of a node program with "node SCRIPT", and looks programs up itself.
				if i := slices.IndexFunc(s.Argv, func(w string) bool { return strings.HasSuffix(w, ".js") }); i > 0 && filepath.Base(s.Argv[0]) == "node" {
					s.Argv = []string{"node " + s.Argv[i]}
				} else if !strings.HasPrefix(s.Argv[0], "node ") {
					s.Argv[0] = filepath.Base(s.Argv[0])
				}
			}
			m.keep = regexp.MustCompile(`^(T_.*|PORT|PYTHONUNBUFFERED)$`).MatchString
			m.env = []string{"PM2_HOME=" + filepath.Join(filepath.Dir(m.Home), "pm2")}
			m.Write("server.js", server)
			m.Write("sub/beat.py", "import time\nwhile True: time.sleep(1)\n")
			m.Write("run.sh", "#!/bin/sh\nexec sleep 1003\n")
			m.Write(c.file, at(c.text, free(t)))
			pid, stop := m.start(node, pm2, "start", c.file)
			before := m.settled("pm2", func() []int { return below(pid) })
			if c.live {
				list := exec.Command(node, filepath.Join(filepath.Dir(pm2), "pm2"), "jlist")
				list.Dir, list.Env = m.Dir, append(m.env, "PATH="+os.Getenv("PATH"), "HOME="+filepath.Dir(m.Home))
				out, err := list.Output()
				if err != nil {
					t.Fatal(err)
				}
				c.file = "jlist.json"
				m.Write(c.file, string(out))
			}
			stop()
			m.moved(before, c.file)
		})
	}
}
