package vault

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/omnitron-dev/omnitron/core/fault"
	naming "github.com/omnitron-dev/omnitron/core/vault/name"
)

func TestVersions(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	if s := set(t, v, "shop/db", "one"); s.Version != 1 {
		t.Fatalf("the first version is %d", s.Version)
	}
	if _, changed, err := v.Set("shop/db", []byte("one")); err != nil || changed {
		t.Fatalf("the value that is there: changed %v, %v", changed, err)
	}
	if s := set(t, v, "shop/db", "two"); s.Version != 2 {
		t.Fatalf("the second version is %d", s.Version)
	}
	if s, err := v.Get("shop/db", 1); err != nil || string(s.Value) != "one" || s.Ended.IsZero() {
		t.Fatalf("version 1: %+v, %v", s, err)
	}
	_, err := v.Get("shop/db", 3)
	refused(t, err, fault.NotFound, "version_missing")
	last, err := v.Delete("shop/db")
	if err != nil || last.Version != 2 {
		t.Fatalf("deleted %+v, %v", last, err)
	}
	for _, version := range []int{0, 1, 2} {
		_, err = v.Get("shop/db", version)
		refused(t, err, fault.NotFound, "secret_missing")
	}
	_, err = v.Delete("shop/db")
	refused(t, err, fault.NotFound, "secret_missing")
	if got := bytes.Join(v.Values(), []byte(" ")); string(got) != "one two" {
		t.Fatalf("what logs may show: %q", got)
	}
	if s := set(t, v, "shop/db", "three"); s.Version != 3 {
		t.Fatalf("after a delete the version is %d", s.Version)
	}
	again := at(home)
	if all, err := again.Versions("shop/db"); err != nil || len(all) != 3 || !all[0].Deleted || !all[1].Deleted || all[2].Deleted {
		t.Fatalf("versions after opening again: %+v, %v", all, err)
	}
	if n, err := again.Retire(time.Now().Add(time.Hour)); err != nil || n != 2 {
		t.Fatalf("retired %d, %v", n, err)
	}
	if got := value(t, at(home), "shop/db"); got != "three" {
		t.Fatalf("the current version after retiring is %q", got)
	}
}

func TestBadNamesAndValues(t *testing.T) {
	v := at(t.TempDir())
	for _, name := range []string{"", "/", "a/", "/a", "a//b", "A", "a b", "a/../b", ".", "ä", "a\n", strings.Repeat("a", naming.Max+1)} {
		_, _, err := v.Set(name, []byte("x"))
		refused(t, err, fault.Invalid, "bad_name")
	}
	for _, text := range []string{"", "a\x00b", strings.Repeat("a", MaxValue+1)} {
		_, _, err := v.Set("a", []byte(text))
		refused(t, err, fault.Invalid, "bad_value")
	}
	set(t, v, "a/b.c_d-e/0", strings.Repeat("a", MaxValue))
	_, err := v.Get("a/b.c_d-e/1", 0)
	if f := fault.From(err); !slices.Equal(f.Candidates, []string{"a/b.c_d-e/0"}) {
		t.Errorf("the candidates are %v", f.Candidates)
	}
}

func TestLookup(t *testing.T) {
	v := at(t.TempDir())
	for _, step := range []struct{ set, want string }{{"shared/db", "shared"}, {"shop/db", "project"}, {"shop/prod/db", "stack"}, {"other/db", "stack"}} {
		set(t, v, step.set, step.want)
		s, err := v.Lookup("shop", "prod", "db")
		if err != nil || string(s.Value) != step.want {
			t.Fatalf("after %s: %q of %s, %v", step.set, s.Value, s.Name, err)
		}
	}
	_, err := v.Lookup("shop", "prod", "mail")
	refused(t, err, fault.NotFound, "secret_missing")
	_, err = v.Lookup("bank", "dev", "shop/db")
	refused(t, err, fault.NotFound, "secret_missing")
}

func TestKeysAreApart(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	key, err := v.Key("audit")
	if err != nil || len(key) != 32 {
		t.Fatal(len(key), err)
	}
	set(t, v, "audit", "mine")
	if _, err := v.Rotate(); err != nil {
		t.Fatal(err)
	}
	again, err := at(home).Key("audit")
	if err != nil || !bytes.Equal(key, again) {
		t.Fatalf("the key is another one, %v", err)
	}
	if other, err := v.Key("approvals"); err != nil || bytes.Equal(key, other) {
		t.Fatalf("two keys are equal, %v", err)
	}
	if list, err := v.List(); err != nil || len(list) != 1 || string(list[0].Value) != "mine" {
		t.Fatalf("the list shows %+v, %v", list, err)
	}
	if all := v.Values(); len(all) != 1 {
		t.Fatalf("%d values", len(all))
	}
}

// TestModel compares the vault with a map, through openings, rotations and refusals of the disk.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		home := t.TempDir()
		v := at(home)
		model := map[string]string{}
		names := rapid.SampledFrom([]string{"a", "b", "p/s/a", "shared/x"})
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			name := names.Draw(rt, "name")
			switch rapid.SampledFrom([]string{"set", "set", "delete", "open", "rotate"}).Draw(rt, "step") {
			case "set":
				val := rapid.StringMatching(`[ -~\n]{1,40}`).Draw(rt, "value")
				set(t, v, name, val)
				model[name] = val
			case "delete":
				_, err := v.Delete(name)
				if _, known := model[name]; known != (err == nil) {
					rt.Fatalf("delete of %s: %v", name, err)
				}
				delete(model, name)
			case "open":
				v = at(home)
			case "rotate":
				if _, err := v.Rotate(); err != nil {
					rt.Fatal(err)
				}
			}
			list, err := v.List()
			if err != nil || len(list) != len(model) {
				rt.Fatalf("the list has %d names, want %d, %v", len(list), len(model), err)
			}
			for _, s := range list {
				if model[s.Name] != string(s.Value) {
					rt.Fatalf("%s is %q, want %q", s.Name, s.Value, model[s.Name])
				}
			}
		}
	})
}

func TestReadsWhileItIsRotated(t *testing.T) {
	v := at(t.TempDir())
	set(t, v, "a", "steady")
	done := make(chan error)
	go func() {
		for range 20 {
			if _, err := v.Rotate(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for reads := 0; ; reads++ {
		select {
		case err := <-done:
			if err != nil || reads == 0 {
				t.Fatal(reads, err)
			}
			return
		default:
			if got := value(t, v, "a"); got != "steady" {
				t.Fatalf("read %q", got)
			}
		}
	}
}

func TestAKeyOfTheDaemonsOwnCanBeDropped(t *testing.T) {
	home := t.TempDir()
	v := at(home)
	was, err := v.Key("token.signing.a")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Set("token.signing.a", []byte("a secret of that name")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.DropKey("token.signing.a"); err != nil {
			t.Fatal(err)
		}
	}
	v = at(home)
	if got, err := v.Get("token.signing.a", 0); err != nil || string(got.Value) != "a secret of that name" {
		t.Errorf("a secret went with it: %v", err)
	}
	if again, err := v.Key("token.signing.a"); err != nil || bytes.Equal(was, again) {
		t.Errorf("it is still there: %v", err)
	}
}
