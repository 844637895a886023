package supervisor

import (
	"os"
	"path/filepath"
	"testing"
)

const (
	firstName = "project: one\napps:\n  - {name: web, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"
	laterName = "project: two\napps:\n  - {name: web, command: \"exec sleep 1000\", ready: {delay: 10ms}}\n"
)

// TestClaimOfAnotherFolder: what runs from a folder is not taken over by another one, unless it has been moved or is down.
func TestClaimOfAnotherFolder(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(firstName)
	there, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(w.home, link))
	def := w.load(firstName)
	def.Dir = link
	if err := w.Claim(def); err != nil {
		t.Errorf("the same folder by a link: %v", err)
	}
	def.Dir = there
	if err := w.Claim(def); reason(err) != "conflict/project_elsewhere" {
		t.Errorf("another folder: %v", err)
	}
	pid := w.pid("web")
	if _, err := w.Apply(w.ctx(), def, w.defs.add(def), Command{Seq: w.next(), Wait: true}); reason(err) != "conflict/project_elsewhere" || w.pid("web") != pid {
		t.Errorf("another folder: %v", err)
	}
	if _, err := w.stop("web"); err != nil {
		t.Fatal(err)
	}
	if err := w.Claim(def); err != nil {
		t.Errorf("it is down: %v", err)
	}
	if _, err := w.start("web"); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock() // as if the folder had been moved there
	p := w.projectDir["one/dev"]
	p.dir = filepath.Join(there, "gone")
	w.projectDir["one/dev"] = p
	w.mu.Unlock()
	if err := w.Claim(def); err != nil {
		t.Errorf("it was moved: %v", err)
	}
}

// TestClaimUnderAnotherName: a project that was renamed is not left behind: it has to be down, and is then forgotten.
func TestClaimUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	w.begin()
	w.up(firstName)
	if _, err := w.apply(laterName); reason(err) != "conflict/project_renamed" {
		t.Errorf("under another name: %v", err)
	}
	if _, err := w.stop("one/dev/web"); err != nil {
		t.Fatal(err)
	}
	if got := w.changes(laterName); got != "web stopped and removed; web added" {
		t.Errorf("plan: %s", got)
	}
	if _, err := w.apply(laterName); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if p, ok := w.ProjectAt(w.home); p != "two" || !ok {
			t.Fatalf("the folder has project %q", p)
		}
	}
	if apps := w.Apps(); len(apps) != 1 || apps[0].Key != "two/dev/web" {
		t.Errorf("%s", w.tell())
	}
	w.end()
	w.begin()
	w.resumed()
	if apps := w.Apps(); len(apps) != 1 || apps[0].Key != "two/dev/web" {
		t.Errorf("after a new daemon: %s", w.tell())
	}
}
