package moving

import "testing"

// serve listens on PORT.
const serve = "import http.server,os\nhttp.server.HTTPServer(('127.0.0.1',int(os.environ['PORT'])),http.server.BaseHTTPRequestHandler).serve_forever()\n"

// TestProcfile compares with foreman.
func TestProcfile(t *testing.T) {
	foreman := needs(t, "foreman")
	for _, c := range []struct {
		name     string
		procfile string
		options  string
		want     int
		ports    int
	}{
		{"web and worker", "web: python3 serve.py --port $PORT\nworker: sleep 1000\n", "", 2, 1},
		{"quotes and variables", "web: exec python3 serve.py \"a b\" '$HOME' \\\"x\\\" ${NAME:-none} $NAME\njob: GREETING='hello  you' exec sleep 1001\n", "", 2, 1},
		{"a shell that stays", "loop: while :; do sleep 1002; done\nweb: exec python3 serve.py\n", "", 3, 1},
		{"formation", "web: exec python3 serve.py\nquiet: exec sleep 1003\n", "formation: web=2,quiet=0\n", 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			// foreman is a Ruby program, and tells its programs which of them they are.
			m := newMove(t, c.want, c.ports, `PS|RUBYLIB|RUBYOPT|GEM_.*|PWD|OLDPWD|SHLVL|_|RACK_ENV`)
			m.alike = func(s *seen) {
				if s.Argv[0] == "sh" && s.Argv[1] == "-c" { // where a shell stays, it is called by its path here
					s.Argv[0] = "/bin/sh"
				}
			}
			m.Write("serve.py", serve)
			m.Write("Procfile", c.procfile)
			m.Write(".env", "NAME=\"a name\"\nEMPTY=\nPLAIN=1\n")
			m.Write(".foreman", "port: "+str(free(t))+"\n"+c.options)
			pid, stop := m.start(foreman, "start")
			before := m.settled("foreman", func() []int { return below(pid) })
			stop()
			m.moved(before, "Procfile")
		})
	}
}
