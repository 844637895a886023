package setting

import "sync/atomic"

// Current is the settings of config.yaml that are in force, and how they are read again. It is safe for concurrent use once
// every taker was added.
type Current struct {
	read  func() (*Daemon, error)
	now   atomic.Pointer[Daemon]
	takes []func(*Daemon)
}

// New reads the settings for the first time. Faults: those of read.
func New(read func() (*Daemon, error)) (*Current, error) {
	c, err := read()
	if err != nil {
		return nil, err
	}
	s := &Current{read: read}
	s.now.Store(c)
	return s, nil
}

// Get gives the settings in force. Nobody may change them.
func (s *Current) Get() *Daemon { return s.now.Load() }

// Read gives what the file says now; it puts nothing in force. Faults: invalid (config_invalid, config_unreadable).
func (s *Current) Read() (*Daemon, error) { return s.read() }

// Take has fn take settings up: those in force at once, and others when they come into force.
func (s *Current) Take(fn func(*Daemon)) {
	s.takes = append(s.takes, fn)
	fn(s.Get())
}

// Use puts settings in force.
func (s *Current) Use(c *Daemon) {
	s.now.Store(c)
	for _, take := range s.takes {
		take(c)
	}
}
