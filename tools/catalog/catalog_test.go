package catalog

import (
	"errors"
	"strings"
	"testing"

	"github.com/omnitron-dev/omnitron/core/host"
	"github.com/omnitron-dev/omnitron/tools/toolstest"
)

func TestBuildBindsWhatSpecsDescribe(t *testing.T) {
	defer func(was []Entry) { Services = was }(Services)
	var seen *host.Host
	Services = []Entry{provide(toolstest.Toys, func(h *host.Host) (*toolstest.Box, error) {
		seen = h
		return toolstest.NewBox(), nil
	})}
	h := &host.Host{}
	specs := Specs()
	methods, err := Build(h)
	if err != nil || seen != h || len(specs) == 0 || len(methods) != len(specs) {
		t.Fatal(err, len(specs), len(methods))
	}
	for i, m := range methods {
		if m.ID() != specs[i].ID() || m.Handle == nil {
			t.Errorf("%s, %s", m.ID(), specs[i].ID())
		}
	}
}

func TestBuildNamesTheServiceThatFails(t *testing.T) {
	defer func(was []Entry) { Services = was }(Services)
	cause := errors.New("no box")
	Services = []Entry{provide(toolstest.Toys, func(*host.Host) (*toolstest.Box, error) { return nil, cause })}
	if _, err := Build(nil); !errors.Is(err, cause) || !strings.Contains(err.Error(), "toys") {
		t.Errorf("%v", err)
	}
}
