package token_test

import (
	"slices"
	"testing"
	"time"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/core/token"
)

// BenchmarkAdmit is what telling a bearer costs, of each kind.
func BenchmarkAdmit(b *testing.B) {
	w := newWorld(b)
	w.user("alice", op.Admin)
	text, _ := w.issue(named("alice"))
	for name, bearer := range map[string]string{"access": w.in("alice").Access, "named": text} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.admit(bearer)
			}
		})
	}
}

// BenchmarkCheck is what a wrong password costs, of a name that there is and of one that there is not, in turns: nobody hears from
// the clock which names there are. The ratio is that of the medians.
func BenchmarkCheck(b *testing.B) {
	w := newWorld(b)
	w.user("alice", op.Admin)
	took := map[string][]time.Duration{}
	i := 0
	for b.Loop() {
		for _, name := range []string{"alice", "nobody"} {
			w.pass(15 * time.Minute)
			if i++; i%90 == 1 {
				must(w.Update(b.Context(), "alice", token.Change{Unlock: true}))(b)
			}
			began := time.Now()
			if _, err := w.Check(b.Context(), name, "not this one either", address(i), false); reason(err) != "bad_credentials" {
				b.Fatal(err)
			}
			took[name] = append(took[name], time.Since(began))
		}
	}
	median := func(name string) time.Duration { slices.Sort(took[name]); return took[name][len(took[name])/2] }
	b.ReportMetric(float64(median("alice"))/float64(median("nobody")), "known/unknown")
}
