package programs_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/evals/rig"
)

// The programs as Debian installs them; another build of the same name may come first in PATH.
const (
	redisServer = "/usr/bin/redis-server"
	nginx       = "/usr/sbin/nginx"
	postgres    = "/usr/lib/postgresql/15/bin"
	python      = "/usr/bin/python3"
	node        = "/usr/bin/node"
)

// need fails the test, with the line that helps, when a program is not installed.
func need(t *testing.T, path, pkg string) {
	t.Helper()
	if err := missing(path, pkg); err != nil {
		t.Fatal(err)
	}
}

func missing(path, pkg string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%w\nto install it: apt-get install -y --no-install-recommends %s (or make setup, which does that for everything)", err, pkg)
	}
	return nil
}

func TestMissingProgramSaysHowToInstallIt(t *testing.T) {
	if err := missing("/usr/bin/no-such-server", "no-such-package"); err == nil || !strings.Contains(err.Error(), "apt-get install -y --no-install-recommends no-such-package") {
		t.Errorf("the error of a program that is not there: %v", err)
	}
	if err := missing("/bin/sh", "dash"); err != nil {
		t.Error(err)
	}
}

// project is one project of servers.
type project struct {
	*rig.Rig
	name    string
	names   []string // of the apps, in the order of the table
	fewest  int      // how many processes they have at least: nginx has two workers, PostgreSQL several
	workers string   // who nginx's workers run as
	data    string   // folder of PostgreSQL's data
	webPort int
	dbPort  int
}

// newProject has four servers that need no rights, and is run by a user.
func newProject(t *testing.T, uid int) *project {
	t.Helper()
	need(t, redisServer, "redis-server")
	need(t, nginx, "nginx")
	need(t, python, "python3")
	need(t, node, "nodejs")
	p := &project{Rig: rig.NewAs(t, uid), names: []string{"cache", "files", "node", "web"}, fewest: 6, workers: strconv.Itoa(max(uid, os.Geteuid())), webPort: freePort(t)}
	p.name = p.Name()
	p.Write("node.js", script)
	p.Write("nginx.conf", fmt.Sprintf(nginxConf, p.Dir, p.webPort, ""))
	p.Write("public/index.html", "hello from python\n")
	return p
}

// newProjectOfRoot adds PostgreSQL, which does not run as root, and an nginx that changes its user.
func newProjectOfRoot(t *testing.T) *project {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these servers change their user: run the tests as root")
	}
	need(t, postgres+"/postgres", "postgresql-15")
	p := newProject(t, 0)
	data, err := os.MkdirTemp("", "ompg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(data); err != nil {
			t.Error(err)
		}
	})
	p.names, p.fewest, p.workers = []string{"cache", "db", "files", "node", "web"}, 9, "nobody"
	p.data, p.dbPort = data, freePort(t)
	p.initdb(t)
	p.Write("nginx.conf", fmt.Sprintf(nginxConf, p.Dir, p.webPort, "user nobody nogroup;"))
	return p
}

// initdb makes an empty cluster that belongs to the user postgres.
func (p *project) initdb(t *testing.T) {
	t.Helper()
	run := func(argv ...string) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = p.data
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cannot run %v: %v\n%s", argv, err, out)
		}
	}
	run("chown", "postgres:", p.data)
	run("setpriv", "--reuid", "postgres", "--regid", "postgres", "--init-groups", "--reset-env",
		postgres+"/initdb", "--no-sync", "--auth", "trust", "--pgdata", p.data+"/pg")
}

// freePort is one that nobody listens on now, for programs that take theirs from a file of their own.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

const nginxConf = `daemon off;
%[3]s
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr notice;
events {}
http {
  access_log /dev/stdout;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen 127.0.0.1:%[2]d;
    location / { return 200 "hello from nginx\n"; }
  }
}
`

const script = `const http = require('http');
const server = http.createServer((req, res) => res.end('hello from node\n'));
server.listen(process.env.PORT, '127.0.0.1', () => {
  console.log(JSON.stringify({ level: 'info', msg: 'listening', port: server.address().port }));
  let n = 0;
  setInterval(() => {
    for (let i = 0; i < 5; i++) console.log(JSON.stringify({ level: 'debug', n: ++n, msg: 'tick' }));
  }, 5);
});
`

func (p *project) yaml() string {
	db, needs := "", "[cache]"
	if p.data != "" {
		needs = "[cache, db]"
		db = fmt.Sprintf(`
  - name: db
    user: postgres
    cwd: %[1]s
    command: [%[2]s/postgres, -D, %[1]s/pg, -k, %[1]s, -p, %[3]d, -c, listen_addresses=127.0.0.1]
    ports: {db: %[3]d}
    ready: {exec: [%[2]s/pg_isready, -h, 127.0.0.1, -p, %[3]d]}
    health: {exec: [%[2]s/pg_isready, -h, 127.0.0.1, -p, %[3]d]}
    stop: {signal: SIGINT, timeout: 20s}`, p.data, postgres, p.dbPort)
	}
	return fmt.Sprintf(`
project: %[1]s
logging: {maxSize: 200KB, maxFiles: 1000}
monitoring: {healthCheck: {interval: 500ms, timeout: 5s, retries: 3}}
apps:
  - name: cache
    command: exec %[2]s --bind 127.0.0.1 --port $PORT --save "" --appendonly no --dir %[3]s
    ports: {redis: auto}
    ready: {tcp: redis}
    health: {tcp: redis}
  - name: web
    command: [%[4]s, -p, %[3]s, -e, stderr, -c, %[3]s/nginx.conf]
    ports: {http: %[5]d}
    ready: {http: /}
    health: {http: /}
  - name: files
    command: exec %[6]s -m http.server --bind 127.0.0.1 --directory public $PORT
    ports: {http: auto}
    ready: {http: /}
    health: {http: /}
  - name: node
    command: [%[7]s, node.js]
    ports: {http: auto}
    ready: {log: '"msg":"listening"'}
    dependsOn: %[8]s%[9]s
`, p.name, redisServer, p.Dir, nginx, p.webPort, python, node, needs, db)
}

func (p *project) key(name string) string { return p.name + "/dev/" + name }

// port is the one port of an app, as the daemon tells it.
func (p *project) port(name string) int {
	p.T.Helper()
	for _, n := range p.App(name).Instances[0].Ports {
		return n
	}
	p.T.Fatalf("%s has no port", name)
	return 0
}

// served asks each program for what it is there for.
func (p *project) served(t *testing.T) {
	for _, name := range p.names {
		p.answers(t, name)
	}
}

func (p *project) answers(t *testing.T, name string) {
	t.Helper()
	switch port := p.port(name); name {
	case "cache":
		if got := redis(t, port, "SET k v"); got != "+OK" {
			t.Errorf("redis answers %q", got)
		}
	case "db":
		out, err := exec.Command(postgres+"/psql", "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "postgres", "-Atc", "select 6*7").CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "42" {
			t.Errorf("PostgreSQL answers %q: %v", out, err)
		}
		p.runsAs(t, name, "postgres")
	case "web":
		fetch(t, port, "hello from nginx\n")
		p.runsAs(t, name, p.workers)
	case "files":
		fetch(t, port, "hello from python\n")
	case "node":
		fetch(t, port, "hello from node\n")
	}
}

// runsAs looks at who the processes below a main process are: backends or workers.
func (p *project) runsAs(t *testing.T, name, user string) {
	t.Helper()
	uid, err := exec.Command("id", "-u", user).Output()
	if err != nil {
		t.Fatal(err)
	}
	want, looked := "\nUid:\t"+strings.TrimSpace(string(uid))+"\t", 0
	for _, q := range p.tree(name)[1:] {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", q.PID))
		if err != nil {
			continue // a backend that has ended meanwhile
		}
		if looked++; !strings.Contains(string(status), want) {
			t.Errorf("%s: pid %d does not run as %s: %s", name, q.PID, user, q.Args)
		}
	}
	if looked < 2 {
		t.Errorf("%s has only %d processes below its main one", name, looked)
	}
}

// redis sends one inline command.
func redis(t *testing.T, port int, command string) string {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Error(err)
		return ""
	}
	defer c.Close()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		t.Error(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(line)
}

func fetch(t *testing.T, port int, want string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != want {
		t.Errorf("port %d answers %q, expected %q: %v", port, body, want, err)
	}
}
