package journal

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/journal/segment"
	"github.com/omnitron-dev/omnitron/core/redact"
)

const hushed = "correct-horse-battery"

const block = "-----BEGIN KEY-----\nQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo\nab=\n-----END KEY-----"

// hiding is a journal that hides two secrets.
func hiding(t testing.TB) *Journal {
	t.Helper()
	j := newJournal(t)
	j.Hide(redact.NewLive(func() [][]byte { return [][]byte{[]byte(hushed), []byte(block)} }))
	return j
}

// shown is all that a query gives, as one text.
func shown(t testing.TB, j *Journal, f Filter) string {
	t.Helper()
	var b strings.Builder
	for cursor := ""; ; {
		f.Cursor = cursor
		lines, next, more, err := j.Query(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			fmt.Fprintf(&b, "%s\n", l.Text)
		}
		if cursor = next; !more {
			return b.String()
		}
	}
}

func TestSecretsAreHidden(t *testing.T) {
	j := hiding(t)
	w := open(t, j, out1)
	w.Write(at(1), "start\npassword "+hushed+" and more\n"+block+"\nend\n")
	want := "start\npassword " + redact.Mark + " and more\n" + strings.Repeat(redact.Mark+"\n", 4) + "end\n"
	if got := shown(t, j, Filter{}); got != want {
		t.Errorf("a query shows %q, want %q", got, want)
	}
	if got := shown(t, j, Filter{Limit: 3}); !strings.Contains(got, "end") || strings.Contains(got, "ab=") || strings.Contains(got, "QUJD") {
		t.Errorf("pages of three lines show %q", got)
	}
	for _, grep := range []string{"horse", "QUJDREV", "ab="} { // no filter finds out what a line says
		if got := shown(t, j, Filter{Grep: grep}); got != "" {
			t.Errorf("a search for %q finds %q", grep, got)
		}
	}
	if got := shown(t, j, Filter{Grep: `redacted\] and`}); !strings.HasPrefix(got, "password") {
		t.Errorf("a search in what is shown finds %q", got)
	}
}

// TestSecretsAcrossPieces: a long line is given in pieces, and a secret may lie on the edge of two.
func TestSecretsAcrossPieces(t *testing.T) {
	for shift := range len(hushed) + 1 {
		j := hiding(t)
		w := open(t, j, out1)
		w.Write(at(1), strings.Repeat("x", segment.MaxLine-shift)+hushed+strings.Repeat("y", 1000)+"\n")
		for what, got := range map[string]string{"a query": shown(t, j, Filter{}), "small pages": shown(t, j, Filter{Limit: 1}), "a follow": followed(t, j, 2)} {
			if got := strings.ReplaceAll(got, "\n", ""); strings.Trim(strings.ReplaceAll(got, redact.Mark, ""), "xy") != "" {
				t.Errorf("shift %d: %s leaves %q", shift, what, strings.Trim(got, "xy"))
			}
		}
	}
}

// followed is the text of the first lines of a follow from the beginning.
func followed(t testing.TB, j *Journal, n int) string {
	t.Helper()
	var b strings.Builder
	for l, err := range j.Follow(t.Context(), Filter{Limit: n}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", l.Text)
		if n--; n == 0 {
			break
		}
	}
	return b.String()
}

// TestHalfASecret: what was printed of a secret when somebody looks is hidden, too.
func TestHalfASecret(t *testing.T) {
	j := hiding(t)
	w := open(t, j, out1)
	w.Write(at(1), "password correct-hor")
	if got := shown(t, j, Filter{}); strings.Contains(got, "corr") {
		t.Errorf("half of it is shown: %q", got)
	}
	w.Write(at(1), "se-battery\n")
	if got := shown(t, j, Filter{}); got != "password "+redact.Mark+"\n" {
		t.Errorf("the whole is shown as %q", got)
	}
}

// TestNewSecrets: a secret that is known from now on is hidden in what was read before.
func TestNewSecrets(t *testing.T) {
	j := newJournal(t)
	var values [][]byte
	live := redact.NewLive(func() [][]byte { return values })
	j.Hide(live)
	w := open(t, j, out1)
	w.Write(at(1), "password "+hushed+"\n")
	if got := shown(t, j, Filter{}); !strings.Contains(got, hushed) {
		t.Fatalf("what nobody has called a secret is hidden: %q", got)
	}
	values = append(values, []byte(hushed))
	live.Stale()
	if got := shown(t, j, Filter{}); strings.Contains(got, hushed) {
		t.Errorf("a new secret is shown: %q", got)
	}
}

// TestFilesStayRaw: only readers see it hidden.
func TestFilesStayRaw(t *testing.T) {
	j := hiding(t)
	w := open(t, j, out1)
	w.Write(at(1), hushed+"\n")
	if got, err := os.ReadFile(Path(j.Dir(), out1)); err != nil || !bytes.Contains(got, []byte(hushed)) {
		t.Errorf("the file holds %q", got)
	}
}

// TestSecretsInArchives: rotated and compressed files are read without them, too, however chunks and files meet.
func TestSecretsInArchives(t *testing.T) {
	for _, format := range []string{"none", "zstd", "gzip"} {
		j := hiding(t)
		j.SetPolicy(out1.Key(), Policy{Compress: format, MaxFiles: 100})
		w := open(t, j, out1)
		for n := range 4 {
			for i := range 2000 {
				w.Write(at(n), fmt.Sprintf("line %d %s\n%s\n", i, hushed, block))
			}
			w.Rotate(at(n))
		}
		if err := j.Maintain(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := shown(t, j, Filter{Limit: MaxLimit})
		if n := strings.Count(got, redact.Mark); n != 4*2000*5 {
			t.Errorf("%s: %d marks, want %d", format, n, 4*2000*5)
		}
		for _, part := range []string{"horse", "QUJD", "ab="} {
			if strings.Contains(got, part) {
				t.Errorf("%s: %q is shown", format, part)
			}
		}
	}
}
