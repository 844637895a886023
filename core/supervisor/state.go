package supervisor

// State is how an app, a process or an instance stands. The list is closed (product contract, chapter 6).
type State string

// The states. Completed and Failed are of one-shots; Crashed means that the restart policy gave up.
const (
	Stopped   State = "stopped"
	Waiting   State = "waiting" // for a dependency
	Starting  State = "starting"
	Running   State = "running"
	Backoff   State = "backoff"
	Stopping  State = "stopping"
	Stuck     State = "stuck" // something does not die
	Completed State = "completed"
	Failed    State = "failed"
	Crashed   State = "crashed"
)

// States is every state, the one that tells the most about an app first.
var States = []State{Stuck, Crashed, Failed, Stopping, Backoff, Waiting, Starting, Running, Completed, Stopped}

// derive gives an app's state from those of its slots: the one that tells the most.
func derive(slots []State) State {
	for _, s := range States {
		for _, have := range slots {
			if have == s {
				return s
			}
		}
	}
	return Stopped
}

// up reports whether a start has reached its end well.
func (s State) up() bool { return s == Running || s == Completed }

// settled reports whether nothing more happens by itself.
func (s State) settled() bool {
	switch s {
	case Running, Completed, Failed, Crashed, Stopped, Stuck:
		return true
	}
	return false
}
