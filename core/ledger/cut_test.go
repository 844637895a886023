package ledger

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// TestFormerRecord: rows from before there were seals are taken over, with what was retired of them.
func TestFormerRecord(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "omnitron.db")
	text, err := os.ReadFile("../store/migrations/0001_base.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(string(text))
	exec("CREATE TABLE goose_db_version (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))")
	exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, 1), (1, 1)")
	var none *seal
	before := position{6, none.mac([]byte("the row before"))}
	exec("INSERT INTO settings (name, value) VALUES (?, ?)", formerAnchor, append([]byte{0, 0, 0, 0, 0, 0, 0, 6}, before.mac...))
	for i := range 4 {
		e := entry(i)
		e.Address, e.Credential = "", "" // neither was kept
		r := rowOf(legacy, e)
		r.seq = before.seq + 1
		before = position{r.seq, none.mac(covered(before, r))}
		exec("INSERT INTO calls ("+strings.TrimSuffix(columns, ", address, credential")+", hash) VALUES ("+strings.Repeat("?, ", 20)+"?)", append(r.fields(nil)[:20], before.mac)...)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h := newHome(t)
	h.db = storetest.Open(t, path)
	l := h.start()
	seq := begun(t, l, entry(9))
	v := whole(t, l, 3, 4) // a cut, a gap, a call
	if v.First != 7 || v.Last != seq || seq != 13 {
		t.Errorf("%+v", v)
	}
	if calls := list(t, l, Filter{Changes: true}); len(calls) != 5 || !calls[4].Open || calls[4].Call != "c0" {
		t.Errorf("the former calls are %+v", calls)
	}
	if n, err := l.Retire(t.Context(), time.Unix(1002, 5)); err != nil || n != 2 {
		t.Errorf("retired %d, %v", n, err)
	}
	whole(t, h.start(), 4, 2)
	h.exec("UPDATE calls SET args = '{}' WHERE seq = 10")
	broken(t, l, 10, "changed")
	if _, err := l.Retire(t.Context(), time.Now()); err == nil {
		t.Error("what is not sound was retired")
	}
}

func covered(before position, r row) []byte { return text(before.mac, sealed(r.fields(nil))) }

// TestStrangers: whoever is turned away is counted, per minute and address, and cannot fill the record.
func TestStrangers(t *testing.T) {
	l := newLedger(t, storetest.New(t))
	for i := range 1000 {
		l.Refuse(Stranger{Plane: "unix", Address: "uid 1001", UID: 1001, Code: "denied", Reason: "peer_uid"})
		l.Refuse(Stranger{Plane: "tcp", Address: "10.0.0." + string(rune('0'+i%8)), Code: "unauthenticated"})
		l.Refuse(Stranger{Plane: "tcp", Address: strings.Repeat("x", i), Code: "unauthenticated"})
	}
	l.sum(time.Now())
	now := list(t, l, Filter{Limit: 1000})
	l.sum(time.Now().Add(minute))
	calls := list(t, l, Filter{Limit: 1000})
	if len(now) > strangersRoom || len(calls) > 2*strangersRoom+8 { // a minute may have ended in between
		t.Errorf("%d rows, then %d", len(now), len(calls))
	}
	counts, others := map[string]int64{}, int64(0)
	for _, c := range calls {
		if !c.Refused || c.Method != "(connect)" || c.Decision != "refused" || c.Time.IsZero() {
			t.Fatalf("%+v", c)
		}
		if c.User == "others" {
			others += c.Count
		}
		counts[c.User] += c.Count
	}
	if counts["uid 1001"] != 1000 || counts["10.0.0.3"] != 125 || others < 1000-2*strangersRoom || calls[len(calls)-1].UID+calls[0].UID < 0 {
		t.Errorf("uid 1001: %d, 10.0.0.3: %d, others %d", counts["uid 1001"], counts["10.0.0.3"], others)
	}
}

// TestCutIsOnRecord: what was retired, and up to when, can be read, and is sealed.
func TestCutIsOnRecord(t *testing.T) {
	h := newHome(t)
	l := h.start()
	for n := range 10 {
		begun(t, l, entry(n))
	}
	if n, err := l.Retire(t.Context(), time.Unix(1004, 5)); err != nil || n != 4 {
		t.Fatalf("retired %d, %v", n, err)
	}
	c := list(t, l, Filter{Limit: 1})[0]
	if c.Method != "(cut)" || c.Count != 4 || c.Reason != retired || !strings.HasPrefix(string(c.Args), `{"from":1,"through":4,"mac":"`) || !strings.Contains(string(c.Args), `"before":"1970-01-01T00:16:44.000000005Z"`) {
		t.Errorf("%+v", c)
	}
	if v := whole(t, h.start(), 7, 0); v.First != 5 || v.Last != 11 {
		t.Errorf("%+v", v)
	}
	h.exec("DELETE FROM calls WHERE seq = 5") // one more than was said
	broken(t, l, 5, "missing")
	h.exec("UPDATE calls SET args = replace(args, '\"through\":4', '\"through\":5') WHERE kind = 'cut'")
	if v, err := l.Verify(t.Context(), ""); err != nil || v.Broken == nil {
		t.Errorf("a cut that was edited: %+v, %v", v, err)
	}
}
