package password

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/fault"
)

func TestCheck(t *testing.T) {
	for text, good := range map[string]bool{
		"correct horse battery":              true,
		"Zwölf Boxkämpfer jagen":             true,
		"塩と砂糖とお酢と醤油と味噌と酒":                    true,
		strings.Repeat("ab1 xq7z", 32):       true,
		"x7$kQ2!mZ9@pL4#":                    true,
		"short":                              false,
		"fourteen chars":                     false,
		"aaaaaaaaaaaaaaaaaaa":                false,
		"abcdefghijklmnopqrs":                false,
		"123456789012345678":                 false,
		"password12345678":                   false,
		"PassWord!!!!!!!!!!":                 false,
		"passwordpassword":                   false,
		"dragondragondragon1":                false,
		"1qaz2wsx3edc4rfv":                   false,
		"alice-alice-2026":                   false,
		"omnitronomnitron1":                  false,
		strings.Repeat("a lot too long", 50): false,
		"nul\x00 in the middle of it":        false,
		"not text: \xff\xfe\xfd\xfc\xfb":     false,
	} {
		err := Check(text, "alice")
		if good != (err == nil) {
			t.Errorf("%.30q: %v", text, err)
		}
		if err != nil && (fault.From(err).Reason != "weak_password" || strings.Contains(err.Error(), text)) {
			t.Errorf("%.30q: %v", text, err)
		}
	}
}

func TestTheBlocklistIsThere(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(common, "\n"), "\n")
	if len(lines) < 10000 {
		t.Errorf("%d entries", len(lines))
	}
	for _, i := range []int{0, len(lines) / 2, len(lines) - 1} {
		if l := lines[i]; !listed(l) || listed(l[1:]+"~") || listed("~"+l) || listed(l+"\n"+lines[(i+1)%len(lines)]) {
			t.Errorf("line %d, %q: %v %v %v", i, l, listed(l), listed(l[1:]+"~"), listed("~"+l))
		}
	}
}

func TestHash(t *testing.T) {
	h := NewHasher()
	hash, err := h.Hash(t.Context(), "Zwölf Boxkämpfer")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(hash, err)
	}
	other, _ := h.Hash(t.Context(), "Zwölf Boxkämpfer")
	if other == hash {
		t.Error("no salt")
	}
	for text, want := range map[string]bool{"Zwölf Boxkämpfer": true, "Zwo\u0308lf Boxka\u0308mpfer": true, "zwölf Boxkämpfer": false, "": false} {
		if ok, err := h.Verify(t.Context(), hash, text); err != nil || ok != want {
			t.Errorf("%q: %v %v", text, ok, err)
		}
	}
	if ok, err := h.Verify(t.Context(), "", "whatever"); ok || err != nil {
		t.Errorf("nobody has a password: %v %v", ok, err)
	}
	for _, bad := range []string{"x", "$argon2id$v=19$m=19456,t=2,p=1$x", "$argon2id$v=19$m=99999999,t=2,p=1$AAAA$AAAA", hash[:len(hash)-4]} {
		if ok, err := h.Verify(t.Context(), bad, "Zwölf Boxkämpfer"); ok || err == nil {
			t.Errorf("%q: %v %v", bad, ok, err)
		}
	}
}

// TestAFewAtATime fills both places and the queue: who comes then is told so at once, and a waiting one can leave.
func TestAFewAtATime(t *testing.T) {
	h := NewHasher()
	h.places <- struct{}{}
	h.places <- struct{}{}
	h.waiting.Add(atOnce)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, queue)
	for range queue {
		go func() {
			_, err := h.Verify(ctx, "", "x")
			ended <- err
		}()
	}
	for deadline := time.Now().Add(10 * time.Second); h.waiting.Load() < queue+atOnce; {
		if time.Now().After(deadline) {
			t.Fatal("they do not wait")
		}
	}
	if _, err := h.Hash(t.Context(), "x"); fault.From(err).Reason != "sign_in_busy" {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	for range queue {
		if err := <-ended; err == nil {
			t.Error("a check that nobody waits for was made")
		}
	}
	if n := h.waiting.Load(); n != atOnce {
		t.Errorf("%d places are not given back", n-atOnce)
	}
}
