// Package access makes every call on every plane as everybody who could make it, and compares what becomes of it with the
// product's own table, transcribed by hand. Behind the pipeline there are recorders instead of services: what reached one
// would have happened.
package access

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/mcp"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// row is a line of the table.
type row struct {
	id, role, effect string
	stream, local    bool
	built            bool
}

// table reads the transcription.
func table(t testing.TB) map[string]row {
	t.Helper()
	f, err := os.Open("testdata/methods.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows := map[string]row{}
	for s := bufio.NewScanner(f); s.Scan(); {
		text, _, _ := strings.Cut(s.Text(), "#")
		w := strings.Fields(text)
		if len(w) == 0 {
			continue
		}
		if len(w) < 3 || op.ParseRole(w[1]) == 0 || rows[w[0]].id != "" {
			t.Fatalf("a line that is none, or is there twice: %s", s.Text())
		}
		r := row{id: w[0], role: w[1], effect: w[2], built: true}
		for _, word := range w[3:] {
			switch word {
			case "stream":
				r.stream = true
			case "local":
				r.local = true
			case "not":
				r.built = false
			case "built":
			default:
				t.Fatalf("%s: what is %s?", r.id, word)
			}
		}
		rows[r.id] = r
	}
	return rows
}

// TestTable: what is built is as the product has it, and what the product has is built or listed as not built.
func TestTable(t *testing.T) {
	rows, specs := table(t), map[string]op.Spec{}
	for _, s := range catalog.Specs() {
		specs[s.ID()] = s
		r, ok := rows[s.ID()]
		switch {
		case !ok:
			t.Errorf("%s is built and is not in testdata/methods.txt", s.ID())
		case !r.built:
			t.Errorf("%s is built and listed as not built", s.ID())
		case r.role != s.Role.String() || r.effect != s.Effect.String() || r.stream != s.Stream || r.local != s.Local:
			t.Errorf("%s is %s, %s, stream %v, local %v; the product says %+v", s.ID(), s.Role, s.Effect, s.Stream, s.Local, r)
		}
	}
	for id, r := range rows {
		if _, ok := specs[id]; r.built && !ok {
			t.Errorf("%s is not built, and not listed as such", id)
		}
	}
	if len(rows) < 196 || len(specs) < 54 {
		t.Errorf("%d rows, %d methods: some are missing", len(rows), len(specs))
	}
}

// What becomes of a call.
const (
	done    = "done"
	confirm = "confirm"
	hold    = "hold"
	deny    = "deny"    // refused, or not there for this caller
	unknown = "unknown" // nobody has signed in
	gone    = "gone"    // what it is about is not there for this caller
)

// seat is who calls.
type seat struct {
	name    string
	channel op.Channel
	rights  op.Role // the most
	acts    op.Role // as
	reads   bool    // and nothing else
	launch  mcp.Launch
}

// seats are those of the native dialect. A plane that lets others in gives them what is said here, by what they signed in
// with; the socket's own are the first of each channel.
var seats = []seat{
	{"person admin", op.Person, op.Admin, op.Admin, false, mcp.Launch{}},
	{"person operator", op.Person, op.Operator, op.Operator, false, mcp.Launch{}},
	{"person viewer", op.Person, op.Viewer, op.Viewer, false, mcp.Launch{}},
	{"agent", op.Agent, op.Admin, op.Operator, false, mcp.Launch{}},
	{"agent admin", op.Agent, op.Admin, op.Admin, false, mcp.Launch{Role: "admin"}},
	{"agent operator", op.Agent, op.Operator, op.Operator, false, mcp.Launch{Role: "operator"}},
	{"agent viewer", op.Agent, op.Viewer, op.Viewer, false, mcp.Launch{Role: "viewer"}},
	{"agent read-only", op.Agent, op.Admin, op.Operator, true, mcp.Launch{ReadOnly: true}},
	{"app admin", op.App, op.Admin, op.Admin, false, mcp.Launch{}},
	{"app operator", op.App, op.Operator, op.Operator, false, mcp.Launch{}},
	{"app viewer", op.App, op.Viewer, op.Viewer, false, mcp.Launch{}},
	{"node", op.Peer, op.Node, op.Node, false, mcp.Launch{}},
	{"nobody", "", 0, 0, false, mcp.Launch{}},
}

// expected is what the product says becomes of a call, read by hand; it shares nothing with the code.
func expected(r row, s seat) string {
	service, verb, _ := strings.Cut(r.id, ".")
	rank := map[string]int{"public": 0, "viewer": 1, "operator": 2, "admin": 3}
	rungs := map[op.Role]int{op.Viewer: 1, op.Operator: 2, op.Admin: 3}
	changes := r.effect != "reads"
	switch {
	case r.role == "public" && (!changes || s.channel != op.Agent): // agents have nothing to do with accounts
		return done
	case s.channel == "":
		return unknown
	case r.role == "node" || s.channel == op.Peer:
		if r.role == "node" && s.channel == op.Peer {
			return done
		}
		return deny
	case rank[r.role] > rungs[s.rights], s.reads && changes:
		return deny
	case s.channel == op.Person:
		return done
	case s.channel == op.App: // a token for a program is made for what it does
		return done
	case service == "auth", service == "users", service == "tokens", r.id == "approvals.approve", r.id == "approvals.deny", r.id == "agents.resume":
		return deny
	case r.effect == "destroys", service == "secrets", verb == "exec" && changes, r.id == "apps.add", r.id == "apps.apply":
		return hold
	case r.role == "admin" && changes, rank[r.role] > rungs[s.acts]:
		return hold
	case r.effect == "interrupts" && r.id != "apps.restart" && r.id != "apps.reload":
		return confirm
	}
	return done
}

// TestEveryCall: every method, by everybody, on every plane: what becomes of it is what the product says, and nothing else
// reaches what would do it.
func TestEveryCall(t *testing.T) {
	rows, h := table(t), newHouse(t)
	cells, right := 0, 0
	for _, p := range slices.Concat(local, remote) {
		expects := p.expects
		if expects == nil {
			expects = expected
		}
		for _, s := range seats {
			if !p.seats(s) {
				continue
			}
			t.Run(p.name+"/"+p.credential+"/"+s.name, func(t *testing.T) {
				call := p.open(t, h, s)
				for _, m := range h.methods {
					cells++
					if got, want := call(m, input(t, m)), expects(rows[m.ID()], s); got != want {
						t.Errorf("%s: %s, want %s", m.ID(), got, want)
						continue
					}
					right++
				}
			})
		}
	}
	t.Logf("%d of %d calls as the product has them", right, cells)
	if cells < 5000 {
		t.Errorf("only %d calls", cells)
	}
}

// input is one that the method takes, and that is meant.
func input(t *testing.T, m *tools.Method) string {
	t.Helper()
	for _, e := range m.Examples {
		if e.Fails != "" {
			continue
		}
		var in map[string]any
		if err := json.Unmarshal([]byte(e.In), &in); err != nil {
			t.Fatal(err)
		}
		delete(in, "dry_run")
		raw, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	t.Fatalf("%s has no example that works", m.ID())
	return ""
}
