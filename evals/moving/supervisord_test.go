package moving

import (
	"os"
	"testing"
)

// TestSupervisord compares with supervisord.
func TestSupervisord(t *testing.T) {
	supervisord := needs(t, "supervisord")
	const daemon = "[supervisord]\nnodaemon=true\nlogfile=%(here)s/supervisord.log\npidfile=%(here)s/supervisord.pid\nchildlogdir=%(here)s\numask=027\nenvironment=STAGE=\"prod, really\"\n"
	for _, c := range []struct {
		name  string
		conf  string
		extra map[string]string
		root  bool
		want  int
		ports int
	}{
		{"a server and a worker", "[program:web]\ncommand=python3 serve.py --name \"the site\" 'a b' --pct 100%%\nenvironment=PORT=\"@port@\",KEY=\"a,b=c;d\",SINGLE='x y'\n[program:worker]\ncommand=sleep 1000\ndirectory=/tmp\numask=077\n", nil, false, 2, 1},
		{"numbered processes", "[program:web]\ncommand=python3 serve.py --n %(process_num)02d --of %(numprocs)d\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=1\nenvironment=PORT=@port@\n[program:job]\ncommand=sleep 100%(process_num)d\nprocess_name=%(program_name)s_%(process_num)02d\nnumprocs=3\nnumprocs_start=4\n", nil, false, 4, 1},
		{"what is included", "[include]\nfiles = conf.d/*.conf\n", map[string]string{"conf.d/a.conf": "[program:a]\ncommand=/bin/sh -c 'exec sleep \"$1\"' sh 1005\nenvironment=HERE=\"%(here)s\"\n", "conf.d/b.conf": "[program:b]\ncommand=sleep 1006   ; not that\nautostart=false\n[program:c]\ncommand=sleep\n    1007\nredirect_stderr=true\n"}, false, 2, 0},
		{"another user", "[program:a]\ncommand=sleep 1008\nuser=nobody\ndirectory=/\nenvironment=HOME=\"/nonexistent\",USER=\"nobody\",LOGNAME=\"nobody\",SHELL=\"/usr/sbin/nologin\"\n", nil, true, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Fatal("this needs root: another user's program is started")
			}
			m := newMove(t, c.want, c.ports, `SUPERVISOR_[A-Z_]+`)
			m.Write("serve.py", serve)
			m.Write("supervisord.conf", daemon+at(c.conf, free(t)))
			for name, text := range c.extra {
				m.Write(name, text)
			}
			pid, stop := m.start(supervisord, "-c", "supervisord.conf")
			before := m.settled("supervisord", func() []int { return below(pid) })
			stop()
			m.moved(before, "supervisord.conf")
		})
	}
}
