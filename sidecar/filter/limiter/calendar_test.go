// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// zones are those that have given calendars trouble: daylight saving time at
// midnight, by half an hour, by a minute after midnight; a date that was skipped;
// the ends of the world.
var zones = []string{
	"UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Sao_Paulo", "America/Havana", "America/Santiago",
	"Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Gaza", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati",
	"Pacific/Niue", "Antarctica/Troll",
}

func calendar(t interface{ Fatal(...any) }, p Period, zone string) *Calendar {
	c, err := NewCalendar(p, zone)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func micros(s string, loc *time.Location) int64 {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, loc)
	if err != nil {
		panic(err)
	}
	return Micros(t)
}

// TestCalendarWindows: where windows begin and how long they are, in hours.
func TestCalendarWindows(t *testing.T) {
	for name, tc := range map[string]struct {
		period Period
		zone   string
		at     string
		from   string
		hours  float64
	}{
		"day":                      {Day, "UTC", "2026-03-04 23:59", "2026-03-04 00:00", 24},
		"day begins":               {Day, "UTC", "2026-03-04 00:00", "2026-03-04 00:00", 24},
		"short day":                {Day, "Europe/Berlin", "2026-03-29 12:00", "2026-03-29 00:00", 23},
		"long day":                 {Day, "Europe/Berlin", "2026-10-25 12:00", "2026-10-25 00:00", 25},
		"half an hour":             {Day, "Australia/Lord_Howe", "2026-04-05 12:00", "2026-04-05 00:00", 24.5},
		"no midnight":              {Day, "Africa/Cairo", "2026-04-24 12:00", "2026-04-24 01:00", 23},
		"the day before":           {Day, "Africa/Cairo", "2026-04-23 23:59", "2026-04-23 00:00", 24},
		"no midnight, in the west": {Day, "America/Santiago", "2026-09-06 12:00", "2026-09-06 01:00", 23},
		"midnight twice":           {Day, "America/Havana", "2026-11-01 12:00", "2026-11-01 00:00", 25},
		"week":                     {Week, "UTC", "2026-11-29 23:59", "2026-11-23 00:00", 168},
		"week begins":              {Week, "UTC", "2026-11-30 00:00", "2026-11-30 00:00", 168},
		"long week":                {Week, "Europe/Berlin", "2026-10-25 23:00", "2026-10-19 00:00", 169},
		"month":                    {Month, "UTC", "2026-11-30 23:59", "2026-11-01 00:00", 720},
		"February":                 {Month, "UTC", "2027-02-28 23:59", "2027-02-01 00:00", 28 * 24},
		"leap year":                {Month, "UTC", "2028-02-29 23:59", "2028-02-01 00:00", 29 * 24},
		"no leap year":             {Month, "UTC", "2100-02-28 23:59", "2100-02-01 00:00", 28 * 24},
		"year's end":               {Month, "Pacific/Kiritimati", "2026-12-31 23:59", "2026-12-01 00:00", 744},
		"short month":              {Month, "Europe/Berlin", "2026-03-31 23:59", "2026-03-01 00:00", 743},
	} {
		t.Run(name, func(t *testing.T) {
			c := calendar(t, tc.period, tc.zone)
			from, to := c.Window(micros(tc.at, c.loc))
			if want := micros(tc.from, c.loc); from != want {
				t.Errorf("begins %s, want %s", time.UnixMicro(from+Epoch).In(c.loc), tc.from)
			}
			if got := float64(to-from) / 3600e6; got != tc.hours {
				t.Errorf("%v hours, want %v", got, tc.hours)
			}
		})
	}
}

// TestCalendarTiles: at any moment, in any zone, the window holds the moment, the
// next begins where it ends, and at its beginning the date changes to one that
// begins a period.
func TestCalendarTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]Period{Day, Week, Month}).Draw(t, "period")
		c := calendar(t, p, rapid.SampledFrom(zones).Draw(t, "zone"))
		now := rapid.Int64Range(100*86400e6, 80*365*86400e6).Draw(t, "now")
		from, to := c.Window(now)
		if rapid.Bool().Draw(t, "at an edge") {
			now = rapid.SampledFrom([]int64{from - 1, from, to - 1, to, to + 1}).Draw(t, "edge")
			from, to = c.Window(now)
		}
		if now < from || now >= to {
			t.Fatalf("%d is not in %d to %d", now, from, to)
		}
		fresh := calendar(t, p, c.zone)
		if f, e := fresh.Window(from); f != from || e != to {
			t.Fatalf("at its beginning the window is %d to %d, want %d to %d", f, e, from, to)
		}
		if f, _ := fresh.Window(to); f != to {
			t.Fatalf("the next window begins %d after the end", f-to)
		}
		if _, e := fresh.Window(from - 1); e != from {
			t.Fatalf("the window before ends %d after the beginning", e-from)
		}
		begin, before := time.UnixMicro(from+Epoch).In(c.loc), time.UnixMicro(from-1+Epoch).In(c.loc)
		if begin.Day() == before.Day() {
			t.Fatalf("%s is within a day", begin)
		}
		if p == Week && begin.Weekday() != time.Monday || p == Month && begin.Day() != 1 {
			t.Fatalf("%s begins no %s", begin, p)
		}
		least, most := map[Period]float64{Day: 22, Week: 166, Month: 28*24 - 2}[p], map[Period]float64{Day: 26, Week: 170, Month: 31*24 + 2}[p]
		if h := float64(to-from) / 3600e6; h < least || h > most {
			t.Fatalf("%v hours are no %s", h, p)
		}
	})
}

// TestCalendarNeverAdmitsMoreThanItsLimit in any window of the calendar.
func TestCalendarNeverAdmitsMoreThanItsLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := calendar(t, rapid.SampledFrom([]Period{Day, Week, Month}).Draw(t, "period"), rapid.SampledFrom(zones).Draw(t, "zone"))
		r, err := NewCalendarRule(rapid.Uint64Range(1, 40).Draw(t, "limit"), c)
		if err != nil {
			t.Fatal(err)
		}
		counts := map[int64]uint64{}
		for _, at := range arrivals(t, r) {
			from, _ := c.Window(at)
			if counts[from]++; counts[from] > r.limit {
				t.Fatalf("%d admitted in the window of %d", counts[from], r.limit)
			}
		}
	})
}

// TestCalendarKeepsWhatWasCounted when a policy goes from a window to a calendar.
func TestCalendarKeepsWhatWasCounted(t *testing.T) {
	var s State
	now := micros("2026-11-24 12:00", time.UTC)
	hour := rule(t, FixedWindow, 5, 3600, 0)
	day, err := NewCalendarRule(7, calendar(t, Day, "UTC"))
	if err != nil {
		t.Fatal(err)
	}
	for hour.Take(&s, now, true).Allowed {
	}
	if got := day.Take(&s, now, false).Remaining; got != 2 {
		t.Errorf("remaining %d, want 2", got)
	}
	if got := day.Take(&s, now+12*3600e6, false).Remaining; got != 7 {
		t.Errorf("the next day remaining %d, want 7", got)
	}
}

func TestNewCalendarRefuses(t *testing.T) {
	for zone, want := range map[string]string{
		"":             `time zone "" is no name of the IANA database`,
		"Local":        `time zone "Local" is no name of the IANA database`,
		"Mars/Olympus": `time zone "Mars/Olympus" is no name of the IANA database`,
		"../etc":       `time zone "../etc" is no name of the IANA database`,
	} {
		if _, err := NewCalendar(Day, zone); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := NewCalendar(9, "UTC"); err == nil {
		t.Error("a period is taken that is none")
	}
}

func BenchmarkCalendar(b *testing.B) {
	r, err := NewCalendarRule(1e12, calendar(b, Month, "Europe/Berlin"))
	if err != nil {
		b.Fatal(err)
	}
	var s State
	now := micros("2026-11-24 12:00", time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		now++
		r.Take(&s, now, true)
	}
}
