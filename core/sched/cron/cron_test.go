package cron

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	z, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func times(t interface{ Fatal(...any) }, line, in string) Times {
	x, err := Parse(line)
	if err != nil {
		t.Fatal(line, err)
	}
	return x.In(zone(t, in))
}

const layout = "2006-01-02 15:04 MST"

// TestClockChanges: what is due around the days on which clocks are put forward and back.
func TestClockChanges(t *testing.T) {
	for _, c := range []struct {
		line, zone, from string
		want             []string
	}{
		{"30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", []string{"2026-03-28 02:30 CET", "2026-03-29 03:00 CEST", "2026-03-30 02:30 CEST"}},
		{"30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", []string{"2026-10-24 02:30 CEST", "2026-10-25 02:30 CEST", "2026-10-26 02:30 CET"}},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29 03:00 CEST", "2026-03-30 02:00 CEST"}},
		{"*/30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29 03:00 CEST", "2026-03-29 03:30 CEST", "2026-03-30 02:00 CEST"}},
		{"*/30 2 * * *", "Europe/Berlin", "2026-10-25T00:10:00Z", []string{"2026-10-25 02:30 CEST", "2026-10-26 02:00 CET"}},
		{"15 * * * *", "Europe/Berlin", "2026-10-25T00:10:00Z", []string{"2026-10-25 02:15 CEST", "2026-10-25 03:15 CET"}},
		{"30 2 * * *", "America/New_York", "2026-03-08T00:00:00Z", []string{"2026-03-08 03:00 EDT", "2026-03-09 02:30 EDT"}},
		{"30 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", []string{"2026-11-01 01:30 EDT", "2026-11-02 01:30 EST"}},
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-04 02:30 +11", "2026-10-05 02:15 +11"}}, // half an hour
		{"0 12 30 12 *", "Pacific/Apia", "2011-12-28T00:00:00Z", []string{"2011-12-31 00:00 +14", "2012-12-30 12:00 +14"}},      // a day that never was
		{"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", []string{"2026-09-06 01:00 -03", "2026-09-07 00:00 -03"}},     // midnight is skipped
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", []string{"2104-02-29 00:00 UTC"}},
		{"0 12 13 * 5", "UTC", "2026-11-01T00:00:00Z", []string{"2026-11-06 12:00 UTC", "2026-11-13 12:00 UTC"}}, // either day
		{"@daily", "Asia/Kolkata", "2026-01-01T00:00:00Z", []string{"2026-01-02 00:00 IST"}},
	} {
		at, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		x := times(t, c.line, c.zone)
		var got []string
		for range c.want {
			at = x.Next(at)
			got = append(got, at.In(zone(t, c.zone)).Format(layout))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s in %s: %q, want %q", c.line, c.zone, got, c.want)
		}
	}
}

func TestNever(t *testing.T) {
	for line, want := range map[string]string{"0 0 31 2 *": "never due", "0 0 30 2 *": "never due", "* * * *": "cannot be read", "": "cannot be read", "61 * * * *": "cannot be read", "@every 5m": "counts from a start",
		"@reboot": "no time", "TZ=UTC 0 0 * * *": "key of its own", "CRON_TZ=UTC 0 0 * * *": "key of its own", "0 0 0 0 * *": "cannot be read", "H * * * *": "cannot be read"} {
		if _, err := Parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := Zone("Europe/Atlantis"); err == nil {
		t.Error("a zone that is not there")
	}
}

// TestEveryWallTimeOnce: whatever the zone and the line, what is due comes in order, shows a time that the line means or a change of the
// clock, and no time of a clock comes twice.
func TestEveryWallTimeOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SampledFrom([]string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Africa/Casablanca", "UTC"}).Draw(t, "zone")
		line := rapid.SampledFrom([]string{"*/7 * * * *", "30 2 * * *", "0 */3 * * *", "15 1-3 * * *", "0 0 * * 0"}).Draw(t, "line")
		at := time.Unix(rapid.Int64Range(1293840000, 1830297600).Draw(t, "from"), 0)
		x := times(t, line, in)
		seen := map[string]bool{}
		for range 300 {
			next := x.Next(at)
			if !next.After(at) {
				t.Fatalf("%s after %s", next, at)
			}
			wall := next.In(x.zone).Format("2006-01-02 15:04")
			if seen[wall] {
				t.Fatalf("%s is due twice", wall)
			}
			seen[wall] = true
			start, _ := next.In(x.zone).ZoneBounds()
			l := next.In(x.zone)
			w := time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), 0, 0, time.UTC)
			if !x.spec.Next(w.Add(-time.Second)).Equal(w) && !next.Equal(start) {
				t.Fatalf("%s is not what %s means", wall, line)
			}
			at = next
		}
	})
}

// TestLooks: a daemon that looks at the clock, is away, and comes back.
func TestLooks(t *testing.T) {
	at := func(s string) time.Time {
		x, err := time.ParseInLocation("2006-01-02 15:04:05", s, zone(t, "Europe/Berlin"))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		name, until, now string
		away, catchUp    bool
		due              bool
		missed           int
		next             string
	}{
		{"not yet", "2026-05-01 03:00:00", "2026-05-02 02:59:59", false, false, false, 0, "2026-05-02 03:00:00"},
		{"just now", "2026-05-01 03:00:00", "2026-05-02 03:00:00", false, false, true, 0, "2026-05-03 03:00:00"},
		{"a machine that slept", "2026-05-01 03:00:00", "2026-05-04 09:00:00", false, false, true, 0, "2026-05-05 03:00:00"},
		{"away, nothing was due", "2026-05-01 03:00:00", "2026-05-02 01:00:00", true, true, false, 0, "2026-05-02 03:00:00"},
		{"away for three times", "2026-05-01 03:00:00", "2026-05-04 09:00:00", true, false, false, 3, "2026-05-05 03:00:00"},
		{"away for three times, and one makes up for them", "2026-05-01 03:00:00", "2026-05-04 09:00:00", true, true, true, 2, "2026-05-05 03:00:00"},
		{"away for a moment", "2026-05-01 03:00:00", "2026-05-02 03:00:40", true, false, true, 0, "2026-05-03 03:00:00"},
		{"the clock was put back a little", "2026-05-02 03:00:00", "2026-05-02 02:10:00", false, false, false, 0, "2026-05-03 03:00:00"},
		{"the clock was wrong by a year", "2027-05-02 03:00:00", "2026-05-02 02:10:00", false, false, false, 0, "2026-05-02 03:00:00"},
		{"never looked before", "", "2026-05-02 02:10:00", true, true, false, 0, "2026-05-02 03:00:00"},
	} {
		var until time.Time
		if c.until != "" {
			until = at(c.until)
		}
		v := times(t, "0 3 * * *", "Europe/Berlin").Look(until, at(c.now), c.away, c.catchUp)
		if v.Due != c.due || v.Missed != c.missed || !v.Next.Equal(at(c.next)) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	long := times(t, "* * * * *", "UTC").Look(at("2020-01-01 00:00:00"), at("2026-01-01 00:00:00"), true, false)
	if long.Missed != most || long.Due {
		t.Errorf("years away: %+v", long)
	}
}

// TestAYearOnAClock drives a job that is due each night through a year of a clock on a wall that a daemon looks at every so often, and
// that is away for a while on each day on which clocks change.
func TestAYearOnAClock(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	for _, catchUp := range []bool{false, true} {
		x := times(t, "30 2 * * *", "Europe/Berlin")
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, berlin)
		until, runs, away, missed := now, map[string]int{}, false, 0
		for end := now.AddDate(1, 0, 0); now.Before(end); now = now.Add(10 * time.Minute) {
			if d := now.Format("01-02"); (d == "03-29" || d == "10-25") && now.Hour() < 6 {
				away = true
				continue
			}
			v := x.Look(until, now, away, catchUp)
			until, away, missed = v.Until, false, missed+v.Missed
			if v.Due {
				runs[now.Format("01-02")]++
			}
		}
		want := 365
		if !catchUp {
			want -= 2
		}
		total := 0
		for day, n := range runs {
			if total += n; n != 1 {
				t.Errorf("on %s it ran %d times", day, n)
			}
		}
		if total != want || missed != 365-want {
			t.Errorf("catchUp %v: %d runs, %d missed", catchUp, total, missed)
		}
	}
}
