package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/op"
	"github.com/omnitron-dev/omnitron/tools"
	"github.com/omnitron-dev/omnitron/tools/catalog"
)

// shown is a registry that only describes.
type shown []*tools.Method

func (s shown) Methods() []*tools.Method { return s }
func (shown) Do(context.Context, tools.Call) (any, error) {
	return nil, errors.New("only descriptions")
}

// catalogServer shows every method of the product.
func catalogServer(t *testing.T) *Server {
	t.Helper()
	methods, err := tools.Describe(catalog.Specs())
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(shown(methods), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// visible is how many bytes of a list a model sees: name, description and input schema.
func visible(t *testing.T, list []byte) (bytes, tools int) {
	t.Helper()
	var all []struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		InputSchema json.RawMessage `json:"inputSchema"`
	}
	if err := json.Unmarshal(list, &all); err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		size := len(one.Name) + len(one.Description) + len(one.InputSchema)
		bytes += size
		if size > 1200 {
			t.Errorf("%s shows %d bytes", one.Name, size)
		}
		if n := len(one.Description); n < 10 || n > 160 || !strings.HasSuffix(one.Description, ".") {
			t.Errorf("%s: a description of %d bytes: %s", one.Name, n, one.Description)
		}
	}
	return bytes, len(all)
}

// TestBudget holds the product's lists to their price: core at most 2000 tokens, full at most 9000 for 150 methods, four
// bytes a token.
func TestBudget(t *testing.T) {
	s := catalogServer(t)
	caller := op.Caller{Channel: op.Agent, Ceiling: op.Admin}
	core, err := s.surfaceFor(Launch{}, caller)
	if err != nil {
		t.Fatal(err)
	}
	full, err := s.surfaceFor(Launch{Profile: profileFull}, caller)
	if err != nil {
		t.Fatal(err)
	}
	n, count := visible(t, core.wide)
	t.Logf("core: %d tools, %d tokens; wire %d bytes", count, n/4, len(core.wide))
	if n/4 > 2000 || count < 12 || count > 26 {
		t.Errorf("core has %d tools for %d tokens", count, n/4)
	}
	n, count = visible(t, full.wide)
	t.Logf("full: %d tools, %d tokens; wire %d bytes", count, n/4, len(full.wide))
	if n/4 > 9000*count/150 {
		t.Errorf("full has %d tools for %d tokens, its share is %d", count, n/4, 9000*count/150)
	}
	if len(instructions) > 2048 {
		t.Errorf("the instructions have %d bytes", len(instructions))
	}
}
