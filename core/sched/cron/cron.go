// Package cron tells when something is due that is planned by the clock on the wall: which instants a line of cron means in a time
// zone, over its changes of the clock too, and what is due after a while in which nobody looked. Pure functions of what they are given.
package cron

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // where the machine has none

	gocron "github.com/netresearch/go-cron"
)

// The library reads the five fields; which instants they mean is decided here. It looks twelve years ahead, since 29 February may
// be eight years away.
var parser = gocron.MustNewParser(gocron.Minute | gocron.Hour | gocron.Dom | gocron.Month | gocron.Dow | gocron.Descriptor | gocron.DowOrDom).WithMaxSearchYears(12)

// Times is when something is due.
type Times struct {
	spec *gocron.SpecSchedule
	zone *time.Location
}

// Parse reads a line of cron: minute, hour, day of the month, month, day of the week (with both days restricted, either will do), or
// @hourly, @daily, @weekly, @monthly, @yearly. What is never due is an error.
func Parse(line string) (Times, error) {
	switch word, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
	case strings.HasPrefix(word, "TZ=") || strings.HasPrefix(word, "CRON_TZ="):
		return Times{}, errors.New("the time zone is a key of its own: timezone")
	case word == "@every":
		return Times{}, errors.New("@every counts from a start, and this goes by the clock: write */5 * * * * for every five minutes")
	case word == "@reboot":
		return Times{}, errors.New("@reboot is no time: an app that is enabled is started with the daemon")
	}
	parsed, err := parser.Parse(strings.TrimSpace(line))
	if err != nil {
		return Times{}, fmt.Errorf("it cannot be read: %s", strings.TrimPrefix(err.Error(), "cron: "))
	}
	spec, ok := parsed.(*gocron.SpecSchedule)
	if !ok {
		return Times{}, errors.New("it says no time of a day")
	}
	t := Times{spec, time.UTC}
	spec.Location = time.UTC
	if spec.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Times{}, errors.New("it is never due: there is no such day")
	}
	return t, nil
}

// Zone finds a time zone by its name in the IANA's list; "" is the machine's own.
func Zone(name string) (*time.Location, error) {
	if name == "" || name == "Local" {
		return time.Local, nil
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("there is no time zone %q", name)
	}
	return z, nil
}

// In gives the same times on the clocks of a zone.
func (t Times) In(zone *time.Location) Times { return Times{t.spec, zone} }

// Next is the first instant after a moment at which it is due. A time of day that is skipped, because clocks are put forward, is due once
// when they have been; one that comes twice, because they are put back, is due the first time only.
func (t Times) Next(after time.Time) time.Time {
	l := after.In(t.zone)
	wall := time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), l.Nanosecond(), time.UTC)
	for {
		if wall = t.spec.Next(wall); wall.IsZero() {
			return time.Time{}
		}
		if at := t.instant(wall); at.After(after) {
			return at
		}
	}
}

// instant is when the clocks of the zone show wall, which is in UTC here so that no clock is put forward or back on the way.
func (t Times) instant(wall time.Time) time.Time {
	const day = 24 * time.Hour // no zone is further away from UTC
	var found time.Time
	for _, near := range []time.Time{wall.Add(-day), wall.Add(day)} {
		_, offset := near.In(t.zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(t.zone)
		if _, is := at.Zone(); is == offset && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	if !found.IsZero() {
		return found
	}
	_, before := wall.Add(-day).In(t.zone).Zone()
	put, _ := wall.Add(-time.Duration(before) * time.Second).In(t.zone).ZoneBounds()
	return put
}
