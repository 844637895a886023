package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/store"
)

// twoVersions makes a state file and its copy, of versions 2 and 1.
func twoVersions(t *testing.T) (*memDisk, map[string][]byte) {
	t.Helper()
	disk := newMemDisk()
	f := openState(t, "/home/state.json", disk)
	for n := 1; n <= 2; n++ {
		put(t, f, number(n))
	}
	put(t, f, number(3))
	files := map[string][]byte{}
	for _, name := range []string{"/home/state.json", "/home/state.json.bak"} {
		data, err := disk.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return disk, files
}

var harms = map[string]func(b []byte, at int) []byte{
	"cut":   func(b []byte, at int) []byte { return b[:at] },
	"zeros": func(b []byte, at int) []byte { clear(b[at:min(len(b), at+64)]); return b },
	"nul":   func(b []byte, at int) []byte { b[at] = 0; return b },
	"flip":  func(b []byte, at int) []byte { b[at] ^= 1 << (at / 64 % 8); return b },
	"digit": func(b []byte, at int) []byte { // harm that leaves valid JSON
		i := bytes.IndexAny(b[at:], "12345678")
		if i >= 0 {
			b[at+i]++
		}
		return b
	},
}

func TestHarmIsSeenAndTheCopyUsed(t *testing.T) {
	_, files := twoVersions(t)
	const main = "/home/state.json"
	for name, harm := range harms {
		for at := 0; at < len(files[main]); at += 7 {
			bad := harm(bytes.Clone(files[main]), at)
			if bytes.Equal(bad, files[main]) {
				continue
			}
			disk := newMemDisk()
			_, _ = disk.Write(main, bad), disk.Write(main+".bak", files[main+".bak"])
			f := openState(t, main, disk)
			if n := numberOf(f.View()); n != 2 || len(f.Warnings()) != 1 || f.Lost() || !f.Behind() {
				t.Fatalf("%s at %d: found %d, %q, behind %v", name, at, n, f.Warnings(), f.Behind())
			}
			aside := ""
			for file := range disk.names {
				if strings.HasPrefix(file, main+".corrupt-") {
					aside = file
				}
			}
			if kept, err := disk.Read(aside); err != nil || !bytes.Equal(kept, bad) || !strings.Contains(f.Warnings()[0], aside) {
				t.Fatalf("%s at %d: the bad file was not kept: %v", name, at, err)
			}
			put(t, f, number(9))
			again := openState(t, main, disk)
			if n := numberOf(again.View()); n != 9 || again.Behind() {
				t.Fatalf("%s at %d: cannot go on", name, at)
			}
		}
	}
}

func TestBothCopiesHarmed(t *testing.T) {
	for name, harm := range harms {
		disk, files := twoVersions(t)
		for file, data := range files {
			_ = disk.Write(file, harm(bytes.Clone(data), 64))
		}
		f := openState(t, "/home/state.json", disk)
		if !f.Lost() || f.View().Len() != 0 || len(f.Warnings()) != 1 || strings.Count(f.Warnings()[0], ".corrupt-") != 2 {
			t.Errorf("%s: lost %v, %d apps, %q", name, f.Lost(), f.View().Len(), f.Warnings())
		}
	}
}

func TestMissingFiles(t *testing.T) {
	for name, c := range map[string]struct {
		remove   []string
		number   int
		warnings int
	}{
		"state.json missing": {[]string{"/home/state.json"}, 2, 1},
		"copy missing":       {[]string{"/home/state.json.bak"}, 3, 0},
		"both missing":       {[]string{"/home/state.json", "/home/state.json.bak"}, 0, 0},
	} {
		disk, _ := twoVersions(t)
		for _, file := range c.remove {
			_ = disk.Remove(file)
		}
		f := openState(t, "/home/state.json", disk)
		if n := numberOf(f.View()); n != c.number || len(f.Warnings()) != c.warnings || f.Lost() {
			t.Errorf("%s: found %d, %q", name, n, f.Warnings())
		}
		f.NotNew()
		if gone := len(c.remove) == 2; f.Fresh() != gone || f.Lost() != gone || gone && len(f.Warnings()) != 1 {
			t.Errorf("%s in a home that is not new: fresh %v, lost %v, %q", name, f.Fresh(), f.Lost(), f.Warnings())
		}
	}
}

func TestLaterStateIsRefusedUntouched(t *testing.T) {
	for _, in := range []string{"/home/state.json", "/home/state.json.bak"} {
		disk, files := twoVersions(t)
		later := bytes.Replace(files[in], []byte(`"version":1`), []byte(`"version":2,"new":{}`), 1)
		later = later[:bytes.LastIndex(later, []byte(`"sum"`))]
		later = append(later, "\"sum\": \"\"\n}\n"...)
		_ = disk.Write(in, later)
		if in != "/home/state.json" {
			_ = disk.Write("/home/state.json", []byte("{"))
		}
		steps := disk.steps
		_, err := store.OpenState("/home/state.json", disk, quiet)
		if f := fault.From(err); f == nil || f.Code != fault.Conflict || f.Reason != store.TooNew || disk.steps != steps {
			t.Errorf("%s: got %v after %d changes of the disk", in, err, disk.steps-steps)
		}
	}
}

func TestUnreadableStateIsNoEmptyState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.Mkdir(path, 0o700); err != nil { // reading it fails with EISDIR, for root too
		t.Fatal(err)
	}
	if _, err := store.OpenState(path, store.OS, quiet); fault.From(err) == nil || fault.From(err).Reason != "state_unreadable" {
		t.Errorf("got %v", err)
	}
}

func TestEditByHand(t *testing.T) {
	disk, files := twoVersions(t)
	text := string(files["/home/state.json"])
	i := strings.Index(text, `"sum": "`) + len(`"sum": "`)
	text = strings.Replace(text[:i]+"\"\n}\n", `"desired":"running"`, `"desired":"stopped"`, 1)
	_ = disk.Write("/home/state.json", []byte(text))
	f := openState(t, "/home/state.json", disk)
	if a, _ := f.View().App("shop/dev/api"); a.Desired != store.WantStopped || len(f.Warnings()) != 0 {
		t.Errorf("got %+v, %q", a, f.Warnings())
	}
}
