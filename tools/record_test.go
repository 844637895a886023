package tools_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestNoRecordNoEffect(t *testing.T) {
	w := toolstest.New(t)
	w.Ledger.Err = errors.New("disk full")
	before := asJSON(t, w.Toys())
	for method, in := range map[string]string{
		"toys.add": `{"name":"kite","color":"red"}`, "toys.paint": `{"color":"green"}`, "toys.stop": `{}`, "toys.smash": `{}`, "toys.wind": `{"name":"car"}`,
		"toys.lock": `{"password":"sesame"}`,
	} {
		f := fails(t, w, toolstest.Owner(), method, in, fault.Internal, "audit_unavailable")
		if strings.Contains(f.Message, "disk full") {
			t.Error("the cause is for the log")
		}
	}
	if after := asJSON(t, w.Toys()); after != before || len(w.Seqs()) > 0 {
		t.Errorf("there was an effect: %s", after)
	}
	does(t, w, toolstest.Owner(), "toys.list", `{}`)
	does(t, w, toolstest.Owner(), "toys.smash", `{"dry_run":true}`)
}

func TestRecordIsThereBeforeTheEffect(t *testing.T) {
	w := toolstest.New(t)
	does(t, w, toolstest.Owner(), "toys.stop", `{"names":["car"]}`)
	e := w.Ledger.Entries()
	if len(e) != 1 || e[0].Seq != w.Seqs()[0] || e[0].Open || !e[0].Changes || e[0].Decision != "allow" || e[0].Code != "" {
		t.Fatalf("%+v", e)
	}
	got := e[0]
	if got.User != "alice" || got.UID != 1000 || got.Channel != "person" || got.Session != "s-owner" || got.Client != "test" || got.Plane != "unix" ||
		len(got.Call) != 26 || string(got.Args) != `{"names":["car"]}` {
		t.Errorf("%+v", got)
	}
}

func TestRecordHasNoSecrets(t *testing.T) {
	w := toolstest.New(t)
	does(t, w, toolstest.Owner(), "toys.lock", `{"password":"sesame"}`)
	if args := string(w.Ledger.Entries()[0].Args); args != `{"password":"•••"}` {
		t.Errorf("%s", args)
	}
}

func TestRecordIsBounded(t *testing.T) {
	w := toolstest.New(t)
	names := `"car"` + strings.Repeat(`,"car"`, 5000)
	does(t, w, toolstest.Owner(), "toys.stop", `{"names":[`+names+`]}`)
	args := string(w.Ledger.Entries()[0].Args)
	if len(args) > 200 || !strings.Contains(args, `"sha256":"`) || !strings.Contains(args, `"omitted_bytes":30017`) {
		t.Errorf("%d bytes: %.200s", len(args), args)
	}
}

func TestRecordsOrderCommands(t *testing.T) {
	w := toolstest.New(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := w.Do(t.Context(), toolstest.Owner(), "toys.stop", `{"names":["car"]}`); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[int64]bool{}
	for _, seq := range w.Seqs() {
		seen[seq] = true
	}
	if len(seen) != 50 || seen[0] {
		t.Errorf("every handler has a number of its own: %d", len(seen))
	}
}

func TestReadsHaveNoNumber(t *testing.T) {
	w := toolstest.New(t)
	does(t, w, toolstest.Owner(), "toys.get", `{"name":"car"}`)
	if e := w.Ledger.Entries(); len(e) != 1 || e[0].Seq != 0 || e[0].Changes || e[0].Decision != "allow" || len(w.Seqs()) > 0 {
		t.Errorf("%+v", e)
	}
	if op.SeqOf(t.Context()) != 0 {
		t.Error("outside of a call there is no number")
	}
}

// TestRecordSaysWhence: of who came over the network, the address and the credential; on a socket the uid says who it is, and what
// an agent's client says of itself does not go on record.
func TestRecordSaysWhence(t *testing.T) {
	w := toolstest.New(t)
	far, near := toolstest.Owner(), toolstest.Agent()
	far.UID, far.Plane, far.From, far.Token = -1, "tcp", netip.MustParseAddr("::ffff:192.0.2.7"), "token:k1"
	near.Token = "chosen-by-the-client"
	does(t, w, far, "toys.stop", `{"names":["car"]}`)
	does(t, w, far, "toys.list", `{}`)
	does(t, w, near, "toys.list", `{}`)
	for i, want := range [][2]string{{"192.0.2.7", "token:k1"}, {"192.0.2.7", "token:k1"}, {"", ""}} {
		if e := w.Ledger.Entries()[i]; e.Address != want[0] || e.Credential != want[1] {
			t.Errorf("%d: from %q with %q", i, e.Address, e.Credential)
		}
	}
}
