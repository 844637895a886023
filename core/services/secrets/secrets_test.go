package secrets

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/bus"
	"github.com/omnitron-dev/omnitron/core/fault"
	"github.com/omnitron-dev/omnitron/core/host/hosttest"
	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store"
	"github.com/omnitron-dev/omnitron/core/store/records"
	"github.com/omnitron-dev/omnitron/core/vault"
)

func service(t *testing.T) (*Service, *hosttest.Host) {
	t.Helper()
	h := hosttest.New(t)
	s, err := New(&h.Host)
	if err != nil {
		t.Fatal(err)
	}
	return s, h
}

func put(t *testing.T, s *Service, name, value string) Stored {
	t.Helper()
	out, err := s.Set(t.Context(), Value{Reference{name}, value})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.From(err).Reason
}

// TestUnseen: whoever stores a secret under a name that no app looks at is told so.
func TestUnseen(t *testing.T) {
	s, _ := service(t)
	for name, want := range map[string]string{"db": "an app looks for project/stack/db", "shop/old": `no project "shop"`, "shared/old": ""} {
		if out := put(t, s, name, "some value"); !strings.Contains(out.Warning, want) || want == "" && out.Warning != "" {
			t.Errorf("%s: %+v", name, out)
		}
		if _, err := s.Delete(t.Context(), Reference{name}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLifeOfASecret(t *testing.T) {
	s, h := service(t)
	h.Declare("project: shop\napps:\n  - {name: api, command: [./api]}\n")
	if out := put(t, s, "shop/db", "first value"); out.Version != 1 || !out.Changed || out.Warning != "" {
		t.Errorf("stored %+v", out)
	}
	if out := put(t, s, "shop/db", "first value"); out.Version != 1 || out.Changed {
		t.Errorf("the same once more: %+v", out)
	}
	if out := put(t, s, "shop/db", "second value"); out.Version != 2 {
		t.Errorf("another value: %+v", out)
	}
	if out := put(t, s, "shop/pin", "1234"); out.Warning == "" {
		t.Error("a short one is stored without a warning")
	}
	for version, want := range map[int]string{0: "second value", 1: "first value", 2: "second value"} {
		if got, err := s.Get(t.Context(), Wanted{Reference{"shop/db"}, version}); err != nil || got.Value != want {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
	if got, err := s.Versions(t.Context(), Reference{"shop/db"}); err != nil || len(got.Items) != 2 || got.Items[0].Version != 2 || !got.Items[0].Ended.IsZero() || got.Items[1].Ended.IsZero() {
		t.Errorf("versions: %+v, %v", got, err)
	}
	if _, err := s.Delete(t.Context(), Reference{"shop/db"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), Wanted{Reference{"shop/db"}, 1}); reason(err) != "secret_missing" {
		t.Errorf("after the delete: %v", err)
	}
	if got := h.Redact.String("first value, second value"); strings.Contains(got, "value") {
		t.Errorf("deleted values are shown: %q", got)
	}
	var told []string
	for _, e := range h.Bus.Recent(bus.Filter{Topics: []string{"secrets"}}, 0, 10) {
		told = append(told, e.Type)
		if strings.Contains(e.Text, "value ") {
			t.Errorf("an event says %q", e.Text)
		}
	}
	if got := strings.Join(told, " "); got != "set set set deleted" {
		t.Errorf("events: %s", got)
	}
}

func TestListInPages(t *testing.T) {
	s, _ := service(t)
	for _, n := range []string{"shop/a", "shop/b", "shop/c", "bank/a"} {
		put(t, s, n, "long enough "+n)
	}
	var names []string
	in := Search{Page: op.Page{Limit: 2}, Prefix: "shop/"}
	for {
		out, err := s.List(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range out.Items {
			names = append(names, i.Name)
		}
		if in.Cursor = out.NextCursor; !out.Truncated {
			break
		}
	}
	if got := strings.Join(names, " "); got != "shop/a shop/b shop/c" {
		t.Errorf("the pages hold %s", got)
	}
}

func TestPlansChangeNothing(t *testing.T) {
	s, _ := service(t)
	put(t, s, "shop/db", "first value")
	items := func(p *op.Plan, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return len(p.Items)
	}
	if n := items(s.PlanSet(t.Context(), Value{Reference{"shop/db"}, "first value"})); n != 0 {
		t.Errorf("the same value: %d items", n)
	}
	if n := items(s.PlanSet(t.Context(), Value{Reference{"shop/db"}, "another"})) + items(s.PlanSet(t.Context(), Value{Reference{"shop/x"}, "another"})) +
		items(s.PlanDelete(t.Context(), Reference{"shop/db"})) + items(s.PlanRotate(t.Context(), Nothing{})); n != 4 {
		t.Errorf("%d items, want 4", n)
	}
	if got, err := s.Get(t.Context(), Wanted{Reference: Reference{"shop/db"}}); err != nil || got.Value != "first value" {
		t.Errorf("after the plans: %+v, %v", got, err)
	}
}

func TestSealedIsSaid(t *testing.T) {
	s, h := service(t)
	put(t, s, "shop/db", "first value")
	if err := os.Remove(filepath.Join(h.Home, "vault.key")); err != nil {
		t.Fatal(err)
	}
	again := hosttest.At(t, h.Home)
	s, err := New(&again.Host)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"list":     second(s.List(t.Context(), Search{})),
		"get":      second(s.Get(t.Context(), Wanted{Reference: Reference{"shop/db"}})),
		"set":      second(s.Set(t.Context(), Value{Reference{"shop/db"}, "x"})),
		"delete":   second(s.Delete(t.Context(), Reference{"shop/db"})),
		"versions": second(s.Versions(t.Context(), Reference{"shop/db"})),
		"rotate":   second(s.Rotate(t.Context(), Nothing{})),
		"plan":     second(s.PlanRotate(t.Context(), Nothing{})),
	} {
		if reason(err) != "vault_sealed" || fault.From(err).Hint == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRotateKeepsTheValues(t *testing.T) {
	s, _ := service(t)
	put(t, s, "shop/db", "first value")
	out, err := s.Rotate(t.Context(), Nothing{})
	if err != nil || out.Values != 1 || !out.Key || out.Note != "" {
		t.Errorf("rotated %+v, %v", out, err)
	}
	if got, err := s.Get(t.Context(), Wanted{Reference: Reference{"shop/db"}}); err != nil || got.Value != "first value" {
		t.Errorf("afterwards: %+v, %v", got, err)
	}
}

// TestRotateSealsRevisions: a kept revision, too, opens with none of the keys that there were.
func TestRotateSealsRevisions(t *testing.T) {
	s, h := service(t)
	path := filepath.Join(h.Home, "revisions.key")
	h.Declare("project: shop\napps:\n  - {name: web, command: [sleep, \"1\"], env: {WORD: sesame}}\n")
	former, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Rotate(t.Context(), Nothing{})
	if err != nil || out.Kept != 1 {
		t.Fatalf("rotated %+v, %v", out, err)
	}
	if rev, err := h.Revisions.Latest(t.Context(), "shop", "dev"); err != nil || rev.Unreadable != nil || !strings.Contains(string(rev.Definition), "sesame") {
		t.Errorf("afterwards: %s, %v, %v", rev.Definition, rev.Unreadable, err)
	}
	if err := os.WriteFile(path, former, 0o600); err != nil {
		t.Fatal(err)
	}
	old := records.NewRevisions(h.Store, "").SealWith(vault.NewBox(path, store.OS))
	if rev, err := old.Latest(t.Context(), "shop", "dev"); err != nil || rev.Unreadable == nil {
		t.Errorf("it opens with the former key: %v", err)
	}
}
