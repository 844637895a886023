package http

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

// TestOpenAPIIsValid loads and validates the document, of the toys and of the whole daemon, by a validator that is not ours.
func TestOpenAPIIsValid(t *testing.T) {
	for name, specs := range map[string][]op.Spec{"toys": toolstest.Toys.Specs(), "the daemon": catalog.Specs()} {
		methods, err := tools.Describe(specs)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := OpenAPI(methods, "1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		doc, err := openapi3.NewLoader().LoadFromData(raw)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := doc.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		public := 0
		for _, m := range methods {
			if m.Local {
				continue
			}
			public++
			p := doc.Paths.Value(apiRoot + m.Service + "/" + m.Verb)
			if p == nil || p.Post == nil || (p.Get != nil) != (m.Effect == op.Reads && flat(m)) {
				t.Errorf("%s: %s is not described as it is served", name, m.ID())
			}
		}
		if n := doc.Paths.Len(); n != public {
			t.Errorf("%s: %d paths, %d methods", name, n, public)
		}
	}
}
