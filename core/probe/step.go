package probe

import "time"

// Health is what is thought of a program.
type Health string

// The healths. A program is unknown until it has answered well for the first time or has failed too often.
const (
	Unknown   Health = "unknown"
	Healthy   Health = "healthy"
	Unhealthy Health = "unhealthy"
)

// Rules say when and how often to ask, and how many failures in a row make a program unhealthy.
type Rules struct {
	Interval    time.Duration // between questions
	Timeout     time.Duration // of one question
	Retries     int           // failures in a row; below 1 counts as 1
	StartPeriod time.Duration // after the start, in which failures do not count until the first success
}

// State is what is known after the questions so far. The zero value is that of a program just started.
type State struct {
	Health Health // "" is Unknown
	Fails  int    // in a row, those that count
	Well   bool   // has answered well since its start, which ends the start period
}

// Step takes the result of a question that was answered a time after the start, and reports whether the health changed.
//
//	unknown ── success ──► healthy ── Retries failures ──► unhealthy
//	   │                      ▲                               │
//	   │                      └────────── success ────────────┘
//	   └── Retries failures, those of the start period aside ──► unhealthy
func Step(s State, r Rules, res Result, sinceStart time.Duration) (State, bool) {
	was := s.Health
	if was == "" {
		was = Unknown
	}
	s.Health = was
	switch {
	case res.Healthy:
		s.Health, s.Fails, s.Well = Healthy, 0, true
	case !s.Well && sinceStart < r.StartPeriod:
		// it may still be starting
	default:
		if s.Fails++; s.Fails >= max(1, r.Retries) {
			s.Health = Unhealthy
		}
	}
	return s, s.Health != was
}
