package proc

import (
	"testing"

	"github.com/omnitron-dev/omnitron/core/keeper/protocol"
)

// TestRefusedSpawnIsForgotten: a spawn that nobody waits for and that is refused in the end is not remembered; one that
// may still come is.
func TestRefusedSpawnIsForgotten(t *testing.T) {
	k := &Keeper{calls: map[uint64]*call{}, abandoned: map[string]uint64{"a": 7, "b": 8}}
	k.handle(protocol.Frame{Type: protocol.Spawn, Re: 7, Err: &protocol.Error{Code: "invalid"}}, nil)
	if _, waits := k.abandoned["b"]; !waits || len(k.abandoned) != 1 {
		t.Errorf("remembered: %v", k.abandoned)
	}
}
