package supervisor

import (
	"github.com/omnitron-dev/omnitron/core/proc"
	"github.com/omnitron-dev/omnitron/core/supervisor/sockets"
)

// reclaim gives the sockets that are open to the apps that they were opened for. Those of apps that are no more are closed.
// The caller holds mu.
func (s *Supervisor) reclaim() {
	for _, open := range s.Keeper.Sockets() {
		key, _, _ := sockets.Parse(open.ID)
		if r := s.apps[key]; r != nil {
			r.Holds(open.ID)
		} else if _, left := s.unread[key]; !left {
			s.Keeper.Unlisten(open.ID)
		}
	}
}

// Listens gives the sockets that are open, by the key of the app.
func (s *Supervisor) Listens() map[string][]proc.Listener {
	out := map[string][]proc.Listener{}
	for _, open := range s.Keeper.Sockets() {
		key, _, _ := sockets.Parse(open.ID)
		out[key] = append(out[key], open)
	}
	return out
}
