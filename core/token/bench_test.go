package token_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
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
