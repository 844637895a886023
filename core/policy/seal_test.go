package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/store/storetest"
)

func sealed(t interface{ Fatal(...any) }, b Binding) string {
	s, err := b.Seal([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var words = rapid.StringMatching(`[a-z"\\{},é€\n]{0,6}`)

func aTarget(t *rapid.T) op.Target {
	return op.Target{Key: "shop/dev/" + words.Draw(t, "app"), Process: words.Draw(t, "process"), Instance: rapid.IntRange(0, 3).Draw(t, "instance"),
		Generation: rapid.Uint64().Draw(t, "generation"), Slots: rapid.SliceOfN(words, 0, 2).Draw(t, "slots")}
}

func aBinding(t *rapid.T) Binding {
	input, err := json.Marshal(map[string]any{"v": anyJSON(2).Draw(t, "input"), "n": rapid.IntRange(-5, 5).Draw(t, "n")})
	if err != nil {
		t.Fatal(err)
	}
	b := Binding{Caller: op.Caller{User: words.Draw(t, "user"), Channel: op.Agent, Token: words.Draw(t, "token")}, Method: words.Draw(t, "method"), Input: input, Plan: &op.Plan{}}
	for range rapid.IntRange(0, 3).Draw(t, "targets") {
		b.Targets = append(b.Targets, aTarget(t))
	}
	for range rapid.IntRange(0, 3).Draw(t, "items") {
		b.Plan.Items = append(b.Plan.Items, op.Item{Target: words.Draw(t, "target"), From: words.Draw(t, "from"), To: words.Draw(t, "to")})
	}
	return b
}

// TestSealChangesWithTheCall: whatever makes it another call makes another seal.
func TestSealChangesWithTheCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := aBinding(t)
		before := sealed(t, b)
		changes := map[string]func(*Binding){
			"user":       func(b *Binding) { b.Caller.User += "x" },
			"channel":    func(b *Binding) { b.Caller.Channel = op.Person },
			"token":      func(b *Binding) { b.Caller.Token += "x" },
			"twin":       func(b *Binding) { b.Caller.Twin = true },
			"method":     func(b *Binding) { b.Method += "x" },
			"input":      func(b *Binding) { b.Input = json.RawMessage(strings.Replace(string(b.Input), "{", `{"added":1,`, 1)) },
			"new target": func(b *Binding) { b.Targets = append(slices.Clone(b.Targets), op.Target{Key: "shop/dev/api"}) },
			"new item": func(b *Binding) {
				b.Plan = &op.Plan{Items: append(slices.Clone(b.Plan.Items), op.Item{Target: "api", To: "gone"})}
			},
			"digest":   func(b *Binding) { b.Plan = &op.Plan{Items: b.Plan.Items, Digest: b.Plan.Digest + "x"} },
			"boundary": func(b *Binding) { b.Caller.User += `","token":"` },
		}
		if len(b.Targets) > 0 {
			at := rapid.IntRange(0, len(b.Targets)-1).Draw(t, "which")
			for name, change := range map[string]func(*op.Target){
				"key": func(x *op.Target) { x.Key += "x" }, "process": func(x *op.Target) { x.Process += "x" }, "instance": func(x *op.Target) { x.Instance++ },
				"generation": func(x *op.Target) { x.Generation++ }, "slots": func(x *op.Target) { x.Slots = append(slices.Clone(x.Slots), "s") },
			} {
				changes["target's "+name] = func(b *Binding) { b.Targets = slices.Clone(b.Targets); change(&b.Targets[at]) }
			}
		}
		if len(b.Plan.Items) > 0 {
			at := rapid.IntRange(0, len(b.Plan.Items)-1).Draw(t, "item")
			for name, change := range map[string]func(*op.Item){
				"target": func(x *op.Item) { x.Target += "x" }, "from": func(x *op.Item) { x.From += "x" }, "to": func(x *op.Item) { x.To += "x" },
			} {
				changes["item's "+name] = func(b *Binding) {
					b.Plan = &op.Plan{Items: slices.Clone(b.Plan.Items)}
					change(&b.Plan.Items[at])
				}
			}
		}
		seen := map[string]string{before: "nothing"}
		for name, change := range changes {
			other := b
			change(&other)
			s := sealed(t, other)
			if with, twice := seen[s]; twice {
				t.Fatalf("another %s has the seal of another %s", name, with)
			}
			seen[s] = name
		}
		if s, err := b.Seal([]byte("another key")); err != nil || s == before {
			t.Fatal("the seal does not depend on the key", err)
		}
	})
}

// TestSealIsTheSameForTheSameCall: however it is written, over whichever connection it comes.
func TestSealIsTheSameForTheSameCall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := aBinding(t)
		n := rapid.IntRange(1, 1_000_000).Draw(t, "number")
		keys := rapid.Permutation([]string{`"n":%s`, `"names":["a","b"]`, `"confirm":"tok"`, `"dry_run":false`, `"idempotency_key":"k"`, `"o":{"b":1,"a":[2,3]}`}).Draw(t, "order")
		b.Input = json.RawMessage(fmt.Sprintf(`{"n":%d,"names":["a","b"],"o":{"a":[2,3],"b":1}}`, n))
		spelled := rapid.SampledFrom([]string{fmt.Sprint(n), fmt.Sprintf("%d.0", n), fmt.Sprintf("%d.000e0", n), fmt.Sprintf("%de0", n), fmt.Sprintf("%d0e-1", n), fmt.Sprintf("%d0E-1", n)}).Draw(t, "spelling")
		other := b
		space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space")
		other.Input = json.RawMessage("{" + space + strings.Replace(strings.Join(keys, space+","+space), "%s", spelled, 1) + space + "}")
		other.Targets = rapid.Permutation(slices.Clone(b.Targets)).Draw(t, "targets")
		other.Caller.Session, other.Caller.Client, other.Caller.Trace, other.Args, other.Why, other.Rule = "another", "x", "y", json.RawMessage(`1`), "z", "r"
		if sealed(t, b) != sealed(t, other) {
			t.Fatalf("%s and %s are one call and have two seals", b.Input, other.Input)
		}
	})
}

func TestStoredKeys(t *testing.T) {
	db := storetest.New(t)
	a, err1 := StoredKeys(db).Key("a")
	again, err2 := StoredKeys(db).Key("a")
	b, err3 := StoredKeys(db).Key("b")
	if err1 != nil || err2 != nil || err3 != nil || len(a) != keySize || string(a) != string(again) || string(a) == string(b) {
		t.Errorf("%x %x %x, %v %v %v", a, again, b, err1, err2, err3)
	}
}
