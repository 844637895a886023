package canary

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/evals/rig"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// program prints what it knows in every form, tells it to its health check, and dies with it on its lips when asked to.
const program = `
printf '%s\n' "plain: $YAML $DOTENV $INHERITED $URL" "args: $*" "$PEM"
printf '{"level":"error","msg":"cannot connect to %s with %s"}\n' "$URL" "$YAML"
printf 'basic %s\n' "$(printf 'user:%s' "$DOTENV" | base64 -w0)" >&2
printf '%s\n' "$PEM" | base64 >&2
printf '%s %s %s %s\n' "$YAML" "$DOTENV" "$INHERITED" "$*" >&2
case $1 in die) exit 7;; esac
echo up
exec sleep 1000
`

const definition = `
project: shop
apps:
  - name: web
    command: [/bin/sh, ./program, serve, ARGV]
    ready: {log: ^up$}
    health: {exec: [/bin/sh, -c, 'echo "it says $YAML $DOTENV"; exit 1'], interval: 300ms, retries: 1000}
    env: {YAML: VALUE, URL: "LINK", PEM: REFERENCE}
    envFile: [app.env]
    inheritEnv: [INHERITED]
  - name: dead
    command: [/bin/sh, ./program, die, --password=ARGV]
    restart: never
    env: {YAML: VALUE, URL: "LINK", PEM: REFERENCE}
    envFile: [app.env]
    inheritEnv: [INHERITED]
  - {name: lost, command: ["./no-such-ARGV"]}
`

// flock gives a canary of each kind.
func flock() map[string]Bird {
	all := map[string]Bird{}
	for _, kind := range []string{"yaml", "dotenv", "inherit", "argv", "url"} {
		all[kind] = Hatch(kind, "canary-"+kind+"-"+rand.Text())
	}
	all["url"] = Hatch("url", "canary@url/"+rand.Text())
	key := base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text() + rand.Text() + rand.Text()))
	all["pem"] = Hatch("pem", "-----BEGIN PRIVATE KEY-----\n"+key[:64]+"\n"+key[64:128]+"\n"+key[128:]+"\n-----END PRIVATE KEY-----")
	return all
}

// cage is a daemon that has been told the canaries in every way there is.
type cage struct {
	*rig.Rig
	birds map[string]Bird
	said  strings.Builder // whatever anybody was answered
}

// newCage starts it all. known: the vault holds the canaries, so that it is known what must not be shown.
func newCage(t *testing.T, known bool) *cage {
	t.Helper()
	c := &cage{Rig: rig.New(t), birds: flock()}
	link := url.URL{Scheme: "postgres", User: url.UserPassword("me", c.birds["url"].Value), Host: "db:5432", Path: "/shop"}
	quoted, err := json.Marshal(c.birds["pem"].Value)
	if err != nil {
		t.Fatal(err)
	}
	reference := string(quoted)
	if known {
		reference = "{secret: pem}"
	}
	yaml := strings.NewReplacer("VALUE", c.birds["yaml"].Value, "LINK", link.String(), "ARGV", c.birds["argv"].Value, "REFERENCE", reference).Replace(definition)
	c.Write("program", program)
	c.Write("app.env", "DOTENV="+c.birds["dotenv"].Value+"\n")
	c.Write("omnitron.yaml", yaml)
	c.run("", "start") // a daemon, so that there is a vault before anything is read
	if known {
		for kind, b := range c.birds {
			c.run(b.Value, "secrets", "set", "shop/"+kind)
		}
	}
	c.run("", "up")
	c.Until(20*time.Second, "web is up and dead is dead", func() bool {
		var page struct {
			Items []struct{ Name, State string }
		}
		n := 0
		if c.Call("apps.list", map[string]any{"all": true}, &page) == nil {
			for _, a := range page.Items {
				if a.Name == "web" && a.State == "running" || a.Name == "dead" && a.State == "crashed" {
					n++
				}
			}
		}
		return n == 2
	})
	return c
}

// run types a command as the shell of the canaries would, and hears what it says.
func (c *cage) run(stdin string, args ...string) {
	c.T.Helper()
	ctx, cancel := context.WithTimeout(c.T.Context(), time.Minute)
	defer cancel()
	cmd := c.Command(ctx, args...)
	cmd.Env = append(cmd.Env, "INHERITED="+c.birds["inherit"].Value)
	cmd.Stdin = strings.NewReader(stdin)
	out, _ := cmd.CombinedOutput() // that dead and lost do not come up is what they are for
	fmt.Fprintf(&c.said, "$ omnitron %s\n%s\n", strings.Join(args, " "), out)
}

// ask makes every call that reads, and some that fail, on every plane, and hears the answers.
func (c *cage) ask() {
	c.T.Helper()
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		c.T.Fatal(err)
	}
	var lines bytes.Buffer
	send := func(format string, args ...any) { fmt.Fprintf(&lines, format+"\n", args...) }
	send(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":%q,"version":"1"}}}`, "client "+c.birds["yaml"].Value)
	send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	id := 1
	for _, m := range methods {
		for _, e := range m.Examples {
			if m.Effect != op.Reads || m.Service == "secrets" && m.Verb == "get" {
				continue
			}
			for _, app := range []string{"web", "dead", "lost"} {
				in := strings.ReplaceAll(e.In, `"web"`, `"`+app+`"`)
				if app != "web" && in == e.In {
					continue
				}
				if id++; !m.Local {
					send(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, m.Tool(), in)
				}
				if !m.Stream {
					c.call(m.ID(), json.RawMessage(in))
					continue
				}
				c.listen(m.ID(), json.RawMessage(in))
			}
		}
	}
	for _, b := range c.birds { // what is typed is on record, and comes back in the fault
		c.call("logs.query", map[string]any{"names": []string{"web"}, "grep": b.Value, "limit": 1000})
		c.call("apps.get", map[string]any{"name": b.Value})
	}
	c.call("apps.env", map[string]any{"name": "web", "reveal": true})
	c.call("apps.apply", map[string]any{"files": []map[string]string{{"path": filepath.Join(c.Dir, "omnitron.yaml"), "text": "apps: [{name: " + c.birds["yaml"].Value + ", command: 1}]"}}})
	c.call("events.list", map[string]any{"limit": 1000})
	c.call("audit.list", map[string]any{"limit": 1000})
	cmd := c.Command(c.T.Context(), "mcp", "--profile", "full")
	cmd.Stdin = &lines
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.T.Fatalf("%v: %s", err, out)
	}
	fmt.Fprintf(&c.said, "over MCP:\n%s\n", out)
	for _, args := range [][]string{{"logs", "-n", "500"}, {"logs", "--raw"}, {"why", "web"}, {"why", "dead"}, {"why", "lost"}, {"inspect", "web"}, {"events", "list"}, {"doctor"}, {"status"}} {
		c.run("", args...)
	}
}

func (c *cage) call(method string, in any) {
	var out json.RawMessage
	err := c.Call(method, in, &out)
	detail, _ := json.Marshal(err) // a fault has fields beside its text
	fmt.Fprintf(&c.said, "%s: %s %v %s\n", method, out, err, detail)
}

// listen takes what a stream has to say within a moment.
func (c *cage) listen(method string, in any) {
	ctx, cancel := context.WithTimeout(c.T.Context(), 300*time.Millisecond)
	defer cancel()
	for item := range c.Client().Stream(ctx, method, in) {
		fmt.Fprintf(&c.said, "%s: %s\n", method, item)
	}
}

// found are the hits, by kind.
type found map[string][]string

func (f found) look(birds map[string]Bird, where, text string) {
	for kind, b := range birds {
		if form := b.In(text); form != "" {
			at := strings.Index(text, form)
			f[kind] = append(f[kind], fmt.Sprintf("%s: …%s…", where, text[max(0, at-120):min(len(text), at+len(form)+20)]))
		}
	}
}

// files looks into every file of the home, and into every table of its database, where a value may lie over two pages.
func (c *cage) files(skip func(name string) bool) found {
	c.T.Helper()
	hits := found{}
	err := filepath.WalkDir(c.Home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // gone by now, or a socket
		}
		name, _ := filepath.Rel(c.Home, path)
		if skip(name) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		hits.look(c.birds, name, string(text))
		return nil
	})
	if err != nil {
		c.T.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.Home, "omnitron.db")+"?mode=ro&_busy_timeout=5000")
	if err != nil {
		c.T.Fatal(err)
	}
	defer db.Close()
	for _, table := range c.column(db, `SELECT name FROM sqlite_master WHERE type = 'table'`) {
		for _, col := range c.column(db, `SELECT name FROM pragma_table_info('`+table+`')`) {
			for _, v := range c.column(db, `SELECT CAST("`+col+`" AS TEXT) FROM "`+table+`" WHERE "`+col+`" IS NOT NULL`) {
				hits.look(c.birds, "omnitron.db "+table+"."+col, v)
			}
		}
	}
	return hits
}

func (c *cage) column(db *sql.DB, query string) (all []string) {
	c.T.Helper()
	rows, err := db.QueryContext(c.T.Context(), query)
	if err != nil {
		c.T.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			c.T.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// processes looks at what daemon and keeper were started with.
func (c *cage) processes(hits found) {
	c.T.Helper()
	for _, p := range rig.Processes() {
		if !strings.Contains(p.Args, c.Home) {
			continue
		}
		for _, what := range []string{"cmdline", "environ"} {
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID, what)) // it may have ended
			hits.look(c.birds, fmt.Sprintf("%s of %s", what, p.Args), string(text))
		}
	}
}

// own are the files in which a canary may be: the vault, and what the apps have printed.
func own(name string) bool {
	return strings.HasPrefix(name, "secrets.enc") || name == "vault.key" || strings.HasPrefix(name, filepath.Join("logs", "shop")+"/")
}

// output is what a health check prints, which is the app's own and gone when it was read.
func output(name string) bool { return own(name) || strings.HasPrefix(name, "tmp/probe-") }

// TestNothingSings: whatever way a secret came in, it is in the vault, in the app's environment and in its own output, and
// nowhere else: in no file, no answer, no record, no fault, no event, no process of ours.
func TestNothingSings(t *testing.T) {
	c := newCage(t, true)
	c.ask()
	hits := c.files(output)
	hits.look(c.birds, "an answer", c.said.String())
	c.processes(hits)
	c.run("", "down", "--all")
	c.Until(20*time.Second, "the daemon has ended", func() bool { return len(c.Left()) == 0 })
	for kind, list := range c.files(own) {
		hits[kind] = append(hits[kind], list...)
	}
	for kind, list := range hits {
		t.Errorf("%s: %d hits\n%s", kind, len(list), strings.Join(list[:min(len(list), 5)], "\n"))
	}
}

// TestTheScannerHears: the same scanner finds every kind in the answers when it is not known what must not be shown, and in
// the files when the apps' own are looked into.
func TestTheScannerHears(t *testing.T) {
	c := newCage(t, false)
	c.ask()
	answers := found{}
	answers.look(c.birds, "an answer", c.said.String())
	files := c.files(func(string) bool { return false })
	for kind := range c.birds {
		if len(answers[kind]) == 0 {
			t.Errorf("%s is in no answer, although nothing is hidden", kind)
		}
		if len(files[kind]) == 0 {
			t.Errorf("%s is in no file, although the apps have printed it", kind)
		}
	}
	for kind, list := range c.files(output) { // what is kept of definitions is sealed all the same
		for _, hit := range list {
			if strings.HasPrefix(hit, "revisions/") || strings.Contains(hit, "revisions.") {
				t.Errorf("%s: %s", kind, hit)
			}
		}
	}
}
