package config

import "sync/atomic"

// Settings are those of config.yaml that are in force, and how they are read again. It is safe for concurrent use once
// every taker was added.
type Settings struct {
	read  func() (*DaemonConfig, error)
	now   atomic.Pointer[DaemonConfig]
	takes []func(*DaemonConfig)
}

// NewSettings reads the settings for the first time. Faults: those of read.
func NewSettings(read func() (*DaemonConfig, error)) (*Settings, error) {
	c, err := read()
	if err != nil {
		return nil, err
	}
	s := &Settings{read: read}
	s.now.Store(c)
	return s, nil
}

// Get gives the settings in force. Nobody may change them.
func (s *Settings) Get() *DaemonConfig { return s.now.Load() }

// Read gives what the file says now; it puts nothing in force. Faults: invalid (config_invalid, config_unreadable).
func (s *Settings) Read() (*DaemonConfig, error) { return s.read() }

// Take has fn take settings up: those in force at once, and others when they come into force.
func (s *Settings) Take(fn func(*DaemonConfig)) {
	s.takes = append(s.takes, fn)
	fn(s.Get())
}

// Use puts settings in force.
func (s *Settings) Use(c *DaemonConfig) {
	s.now.Store(c)
	for _, take := range s.takes {
		take(c)
	}
}
