package protocol

// Merge folds a later notice into an earlier one, so that a reader who comes late still sees the latest state.
func (n *Notice) Merge(later Notice) {
	n.At, n.PID = later.At, later.PID
	switch {
	case later.Ready:
		n.Ready, n.Reloading = true, false
	case later.Reloading:
		n.Ready, n.Reloading = false, true
	}
	n.Stopping = n.Stopping || later.Stopping
	n.Watchdog = n.Watchdog || later.Watchdog
	if later.Status != "" {
		n.Status = later.Status
	}
	if later.Extend != 0 {
		n.Extend = later.Extend
	}
	if later.MainPID != 0 {
		n.MainPID = later.MainPID
	}
}
