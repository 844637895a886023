package tools_test

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/limit"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// BenchmarkDo is a read by an agent through every stage: the hot path of MCP.
func BenchmarkDo(b *testing.B) {
	w := toolstest.New(b, func(d *tools.Deps) {
		d.Limits = limit.Default()
		d.Limits.Calls, d.Limits.Changing = 0, 0
	})
	s := w.Sessions.Open(toolstest.Agent(), func() {})
	defer s.Close()
	ctx := op.WithCaller(b.Context(), toolstest.Agent())
	call := tools.Call{Method: "toys.get", In: []byte(`{"name":"car","project":"box","stack":"dev"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Registry.Do(ctx, call); err != nil {
			b.Fatal(err)
		}
	}
}
