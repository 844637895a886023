package vault

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample is a vault with a few values, and its file.
func sample(t testing.TB) (*contents, []byte) {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	c := fresh(newKey(), now, now).with([]entry{
		{Space: spaceSecret, Name: "a", Version: 1, Created: now, Ended: now, value: []byte("first")},
		{Space: spaceSecret, Name: "a", Version: 2, Created: now, value: []byte("second")},
		{Space: spaceSecret, Name: "b", Version: 1, Created: now, value: []byte("other")},
		{Space: spaceKey, Name: "a", Version: 1, Created: now, value: []byte("key")},
	})
	file, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}

// resum gives the file the checksum that fits, as anybody can.
func resum(file []byte) []byte {
	_, rest, _ := bytes.Cut(file, []byte("\n"))
	return append(fmt.Appendf(nil, "%s %d %x\n", magic, format, sha256.Sum256(rest)), rest...)
}

func TestEveryBitFlipIsFound(t *testing.T) {
	c, file := sample(t)
	if _, err := decode(file, [][]byte{c.kek}); err != nil {
		t.Fatal(err)
	}
	start := bytes.IndexByte(file, '\n') + 1
	for i := range file {
		for bit := range 8 {
			bad := slices.Clone(file)
			bad[i] ^= 1 << bit
			if _, err := decode(bad, [][]byte{c.kek}); err == nil {
				t.Fatalf("bit %d of byte %d flipped: nobody notices", bit, i)
			}
			if i < start || i == len(file)-1 { // the last byte ends the last line
				continue
			}
			if _, err := decode(resum(bad), [][]byte{c.kek}); err == nil {
				t.Fatalf("bit %d of byte %d flipped and the checksum mended: nobody notices", bit, i)
			}
		}
	}
	for n := range file {
		if _, err := decode(file[:n], [][]byte{c.kek}); err == nil {
			t.Fatalf("cut to %d bytes: nobody notices", n)
		}
	}
}

func TestMovedValuesAreFound(t *testing.T) {
	for what, move := range map[string]func([]entry){
		"two names":        func(e []entry) { e[2].Sealed, e[3].Sealed = e[3].Sealed, e[2].Sealed },
		"two versions":     func(e []entry) { e[1].Sealed, e[2].Sealed = e[2].Sealed, e[1].Sealed },
		"a key, a secret":  func(e []entry) { e[0].Sealed, e[1].Sealed = e[1].Sealed, e[0].Sealed },
		"a new name":       func(e []entry) { e[3].Name = "c" },
		"a later version":  func(e []entry) { e[3].Version = 7 },
		"another's space":  func(e []entry) { e[0].Space = spaceSecret; e[0].Name = "x" },
		"an older content": func(e []entry) { e[2].Sealed = e[1].Sealed },
	} {
		c, _ := sample(t)
		moved := *c
		moved.Entries = slices.Clone(c.Entries)
		move(moved.Entries)
		file, err := moved.encode() // with a seal that fits: the values themselves must tell
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(file, [][]byte{c.kek}); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSealBelongsToTheFile(t *testing.T) {
	c, file := sample(t)
	fewer := c.with(c.Entries[:2])
	other, err := fewer.encode()
	if err != nil {
		t.Fatal(err)
	}
	lines, pieces := bytes.SplitAfter(file, []byte("\n")), bytes.SplitAfter(other, []byte("\n"))
	mixed := slices.Concat(lines[0], pieces[1], lines[2]) // a deleted secret brought back, or a value taken away
	if _, err := decode(resum(mixed), [][]byte{c.kek}); !errors.Is(err, errDamaged) {
		t.Errorf("the body of one file under the seal of another: %v", err)
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	c, file := sample(t)
	for what, x := range map[string]struct {
		file []byte
		keys [][]byte
		want error
	}{
		"no key":        {file, nil, errNoFit},
		"another key":   {file, [][]byte{newKey()}, errNoFit},
		"a second key":  {file, [][]byte{newKey(), c.kek}, nil},
		"a later one":   {bytes.Replace(file, []byte("vault 1 "), []byte("vault 2 "), 1), [][]byte{c.kek}, errLater},
		"empty":         {nil, [][]byte{c.kek}, errDamaged},
		"damaged":       {file[:len(file)-9], nil, errDamaged},
		"not a vault":   {[]byte("hello\n"), [][]byte{c.kek}, errDamaged},
		"a zero format": {bytes.Replace(file, []byte("vault 1 "), []byte("vault 01 "), 1), [][]byte{c.kek}, errDamaged},
	} {
		if _, err := decode(x.file, x.keys); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
	}
}

func TestEqualValuesLookDifferent(t *testing.T) {
	c, _ := sample(t)
	seen := map[string]bool{}
	for i := range 1000 {
		next := c.with([]entry{{Space: spaceSecret, Name: "a", Version: 1, value: []byte("same")}})
		nonce := string(next.Entries[0].Sealed[:24])
		if seen[nonce] {
			t.Fatalf("a nonce came twice within %d", i)
		}
		seen[nonce] = true
	}
}

func FuzzDecode(f *testing.F) {
	c, file := sample(f)
	f.Add(file)
	f.Add([]byte("omnitron-vault 1 00\n{}\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, resum(data)} {
			if got, err := decode(d, [][]byte{c.kek}); err == nil && !bytes.Equal(d, file) && !slices.EqualFunc(got.Entries, c.Entries, func(a, b entry) bool { return order(a, b) == 0 && bytes.Equal(a.value, b.value) }) {
				t.Fatalf("%q opens", d)
			}
		}
	})
}

// TestFilesOfThisFormatOpen opens a file that was written when the format was given its number: one that does not open
// any more needs another number, and a way from the one to the other.
func TestFilesOfThisFormatOpen(t *testing.T) {
	file, err := os.ReadFile(fmt.Sprintf("testdata/format%d.enc", format))
	if err != nil {
		t.Fatal(err)
	}
	c, err := decode(file, [][]byte{bytes.Repeat([]byte{0x2a}, keySize)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range c.Entries {
		got = append(got, fmt.Sprintf("%s %s %d %s", e.Space, e.Name, e.Version, e.value))
	}
	if want := "key a 1 key,secret a 1 first,secret a 2 second,secret b 1 other"; strings.Join(got, ",") != want {
		t.Errorf("it holds %q, want %q", strings.Join(got, ","), want)
	}
}
