package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

// full is set when the large counts are asked for.
var full = os.Getenv("OMNITRON_E2E") == "1"

// times is how often something is done: n, or fewer in a quick run.
func times(n, quick int) int {
	if full {
		return n
	}
	return quick
}

// within lets a ledger work inside a transaction, all of which is undone.
type within struct{ tx *sql.Tx }

func (w within) View(_ context.Context, fn func(*sql.Tx) error) error   { return fn(w.tx) }
func (w within) Update(_ context.Context, fn func(*sql.Tx) error) error { return fn(w.tx) }

// victim is a record that is tampered with.
type victim struct {
	tx     *sql.Tx
	dir    string
	rows   int64            // how many it has
	anchor int64            // the newest that is anchored
	marks  map[int64]bool   // which are anchored, or the head
	heads  map[int64][]byte // what the head's file was at each row
	random *rand.Rand
	did    []string
}

func (v *victim) exec(query string, args ...any) {
	v.did = append(v.did, fmt.Sprintf("%s %v", query, args))
	if _, err := v.tx.Exec(query, args...); err != nil {
		panic(err)
	}
}

// write replaces a file beside the record.
func (v *victim) write(name, text string) {
	v.did = append(v.did, name+" becomes "+text)
	path := filepath.Join(v.dir, name)
	err := os.Remove(path)
	if text != "" {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		panic(err)
	}
}

func (v *victim) any() int64           { return 1 + v.random.Int64N(v.rows) }
func (v *victim) of(s []string) string { return s[v.random.IntN(len(s))] }

// shift makes room behind a row, or closes a hole.
func (v *victim) shift(after, by int64) {
	v.exec("UPDATE calls SET seq = -seq - 1000000 WHERE seq > ?", after)
	v.exec("UPDATE calls SET seq = -seq - 1000000 + ? WHERE seq < -1000000", by)
}

// copyOf puts in a row that looks like another one.
func (v *victim) copyOf(of, seq int64) {
	v.exec("INSERT INTO calls ("+columns+", key, mac) SELECT ?"+strings.TrimPrefix(columns, "seq")+", key, mac FROM calls WHERE seq = ? AND kind <> 'settle'", seq, of)
}

// unsettled is a row that can be copied: only one settles a call.
func (v *victim) unsettled() (at int64) {
	for {
		at = v.any()
		var kind string
		if err := v.tx.QueryRow("SELECT kind FROM calls WHERE seq = ?", at).Scan(&kind); err != nil {
			panic(err)
		}
		if kind != settle {
			return at
		}
	}
}

// mutations each do harm and give the first row that is bad then. alive: the daemon that wrote the record still runs.
var mutations = map[string]func(v *victim, alive bool) (first int64){
	"edit a text": func(v *victim, _ bool) int64 {
		at := v.any()
		column := v.of([]string{"kind", "call", "user", "channel", "client", "session", "plane", "trace", "method", "targets", "args", "decision", "code", "reason", "address", "credential"})
		v.exec(fmt.Sprintf("UPDATE calls SET %s = %[1]s || 'x' WHERE seq = ?", column), at)
		return at
	},
	"forget where a call came from": func(v *victim, _ bool) (at int64) {
		if err := v.tx.QueryRow("SELECT seq FROM calls WHERE address <> '' ORDER BY random() LIMIT 1").Scan(&at); err != nil {
			panic(err)
		}
		v.exec("UPDATE calls SET address = '', credential = '' WHERE seq = ?", at)
		return at
	},
	"edit a number": func(v *victim, _ bool) int64 {
		at := v.any()
		column := v.of([]string{"ref", "at", "uid", "took", "count"})
		v.exec(fmt.Sprintf("UPDATE calls SET %s = %[1]s + 1000000 WHERE seq = ?", column), at)
		return at
	},
	"move text to the next column": func(v *victim, _ bool) int64 {
		at := v.unsettled()
		v.exec("UPDATE calls SET call = substr(call, 1, length(call) - 1), user = substr(call, -1) || user WHERE seq = ?", at)
		return at
	},
	"edit a mac": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("UPDATE calls SET mac = randomblob(32) WHERE seq = ?", at)
		return at
	},
	"say that it has no seal": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("UPDATE calls SET key = '' WHERE seq = ?", at)
		return at
	},
	"say that another key has sealed it": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("UPDATE calls SET key = 'ffffffffffffffff', user = 'eve' WHERE seq = ?", at)
		return at
	},
	"take the seals off and hash anew": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("UPDATE calls SET key = '', user = 'eve' WHERE seq = ?", at)
		for seq := at; seq <= v.rows; seq++ {
			v.exec("UPDATE calls SET key = '' WHERE seq = ?", seq)
			if err := rehash(v.tx, nil, seq); err != nil {
				panic(err)
			}
		}
		return at
	},
	"seal it with another key": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("UPDATE calls SET user = 'eve' WHERE seq = ?", at)
		if err := rehash(v.tx, newSeal([]byte("eve's")), at); err != nil {
			panic(err)
		}
		return at
	},
	"put in a row of another history": func(v *victim, _ bool) int64 { // which the same key has sealed, before the store was put back
		at := v.any()
		v.exec("UPDATE calls SET user = 'eve' WHERE seq = ?", at)
		if err := rehash(v.tx, newSeal([]byte("key")), at); err != nil {
			panic(err)
		}
		if v.marks[at] {
			return at
		}
		return at + 1
	},
	"delete": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("DELETE FROM calls WHERE seq = ?", at)
		return at
	},
	"delete, and close the hole": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("DELETE FROM calls WHERE seq = ?", at)
		v.shift(at, -1)
		return at
	},
	"insert": func(v *victim, _ bool) int64 {
		of, at := v.unsettled(), v.random.Int64N(v.rows)
		v.shift(at, 1)
		first := at + 1
		if of == first { // the same once more: the second one is the stranger
			first++
		}
		if of > at {
			of++
		}
		v.copyOf(of, at+1)
		return first
	},
	"insert before all": func(v *victim, _ bool) int64 {
		seq := -v.random.Int64N(10)
		v.copyOf(v.unsettled(), seq)
		return seq
	},
	"append": func(v *victim, _ bool) int64 {
		v.copyOf(v.unsettled(), v.rows+1)
		return v.rows + 1
	},
	"swap": func(v *victim, _ bool) int64 {
		a, b := v.any(), v.any()
		if a == b {
			b = a%v.rows + 1
		}
		v.exec("UPDATE calls SET seq = -1 WHERE seq = ?", a)
		v.exec("UPDATE calls SET seq = ? WHERE seq = ?", a, b)
		v.exec("UPDATE calls SET seq = ? WHERE seq = -1", b)
		return min(a, b)
	},
	"cut off the end": func(v *victim, _ bool) int64 {
		at := v.any()
		v.exec("DELETE FROM calls WHERE seq >= ?", at)
		return at
	},
	"cut off the beginning": func(v *victim, _ bool) int64 {
		v.exec("DELETE FROM calls WHERE seq <= ?", v.random.Int64N(v.rows-1)+1)
		return 1
	},
	"cut off the beginning, and say so": func(v *victim, _ bool) int64 {
		at := v.random.Int64N(v.rows-1) + 1
		var mac []byte
		if err := v.tx.QueryRow("SELECT mac FROM calls WHERE seq = ?", at).Scan(&mac); err != nil {
			panic(err)
		}
		v.copyOf(v.unsettled(), v.rows+1)
		v.exec("UPDATE calls SET kind = 'cut', reason = 'retention', args = ? WHERE seq = ?", span{From: 1, Through: at, MAC: mac}.encode(), v.rows+1)
		v.exec("DELETE FROM calls WHERE seq <= ?", at)
		return v.rows + 1
	},
	"delete everything": func(v *victim, _ bool) int64 {
		v.exec("DELETE FROM calls")
		return 1
	},
	"roll the store back, and its head": func(v *victim, alive bool) int64 {
		to := v.random.Int64N(v.anchor) // what was not anchored yet, only a daemon that lives knows
		if alive {
			to = v.random.Int64N(v.rows)
		}
		v.exec("DELETE FROM calls WHERE seq > ?", to)
		v.write(HeadFile, string(v.heads[to]))
		return to + 1
	},
	"cut off the end, and the head": func(v *victim, _ bool) int64 {
		to := v.random.Int64N(v.anchor)
		v.exec("DELETE FROM calls WHERE seq > ?", to)
		v.write(HeadFile, "")
		return to + 1
	},
	"take the head away": func(v *victim, _ bool) int64 { v.write(HeadFile, ""); return 0 },
	"make up a head": func(v *victim, _ bool) int64 {
		text := bytes.Clone(v.heads[v.rows])
		at := v.random.IntN(len(strings.TrimSpace(string(text))))
		text[at] = "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", text[at])+1+v.random.IntN(15))%16]
		if string(text) == string(v.heads[v.rows]) {
			text[at] = '~'
		}
		v.write(HeadFile, string(text))
		return 0
	},
	"edit an anchor": func(v *victim, _ bool) int64 {
		text, err := os.ReadFile(filepath.Join(v.dir, AnchorFile))
		if err != nil {
			panic(err)
		}
		at := strings.LastIndexByte(strings.TrimSpace(string(text)), ' ') + 1 + v.random.IntN(64)
		text[at] ^= 1
		v.write(AnchorFile, string(text))
		return 0
	},
}

// TestTamperingIsFound: whatever is done to the record is found, and the first bad row named, by the daemon that wrote it
// and by the next one.
func TestTamperingIsFound(t *testing.T) {
	db := storetest.New(t)
	home := t.TempDir()
	l := New(db, Options{Home: home, Keys: &vault{key: []byte("key")}, Log: quiet})
	heads := map[int64][]byte{}
	keep := func(seq int64) {
		text, err := os.ReadFile(filepath.Join(home, HeadFile))
		if err != nil {
			t.Fatal(err)
		}
		heads[seq] = text
	}
	if err := l.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	keep(0)
	const calls, rows, anchored = 24, 36, 30
	marks := map[int64]bool{rows: true}
	for i := range calls {
		e := entry(i)
		if i%2 == 0 {
			seq := begun(t, l, e)
			keep(seq)
			l.Settle(seq, Result{Decision: "allow", Took: time.Second})
		} else {
			l.Read(e)
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		p, _ := l.head.ends()
		keep(p.seq)
		if i == calls/2 || p.seq == anchored {
			if err := l.Anchor(t.Context()); err != nil {
				t.Fatal(err)
			}
			marks[p.seq] = true
		}
	}
	verify(t, l, rows)
	anchors, err := os.ReadFile(filepath.Join(home, AnchorFile))
	if err != nil || strings.Count(string(anchors), "\n") != 2 {
		t.Fatalf("the anchors are %q, %v", anchors, err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	names := make([]string, 0, len(mutations))
	for name := range mutations {
		names = append(names, name)
	}
	undo := errors.New("undo")
	dir := t.TempDir()
	for i := range times(10_000, 4*len(names)) {
		name, alive := names[i%len(names)], i/len(names)%2 == 0
		err := db.Update(t.Context(), func(tx *sql.Tx) error {
			for file, text := range map[string][]byte{HeadFile: heads[rows], AnchorFile: anchors} {
				if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
					return err
				}
			}
			l := New(within{tx}, Options{Home: dir, Keys: &vault{key: []byte("key")}, Log: quiet})
			if alive {
				if v, err := l.Verify(t.Context(), ""); err != nil || v.Broken != nil {
					t.Fatalf("before anything was done: %+v, %v", v.Broken, err)
				}
			}
			v := &victim{tx: tx, dir: dir, rows: rows, anchor: anchored, marks: marks, heads: heads, random: random}
			first := mutations[name](v, alive)
			for again := range 2 { // once it is found it stays found
				verdict, err := l.Verify(t.Context(), "")
				if err != nil || verdict.Broken == nil || verdict.Broken.Seq != first || verdict.Broken.Why == "" {
					t.Errorf("%s (alive %t, look %d): %q: found %+v, %v; want row %d", name, alive, again, v.did, verdict.Broken, err, first)
				}
				if l.Trouble() == nil {
					t.Errorf("%s: nobody is told", name)
				}
				if alive {
					break
				}
				l.head.file.Close()
				l = New(within{tx}, Options{Home: dir, Keys: &vault{key: []byte("key")}, Log: quiet})
			}
			if l.head != nil {
				l.head.file.Close()
			}
			return undo
		})
		if err != undo {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
	verify(t, l, rows)
}

// rehash gives a row the mac that follows from the one before it.
func rehash(tx *sql.Tx, s *seal, seq int64) error {
	var before []byte
	err := tx.QueryRow("SELECT mac FROM calls WHERE seq = ?", seq-1).Scan(&before)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var r row
	if err := tx.QueryRow("SELECT "+columns+" FROM calls WHERE seq = ?", seq).Scan(r.pointers()...); err != nil {
		return err
	}
	_, err = tx.Exec("UPDATE calls SET mac = ? WHERE seq = ?", s.mac(text(before, sealed(r.fields(nil)))), seq)
	return err
}
