// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
	_ "time/tzdata" // images have no zones of their own; about 450 KiB
)

// Period is a unit of the calendar.
type Period uint8

// The periods; the zero value is none of them.
const (
	// Day begins at midnight.
	Day Period = iota + 1
	// Week begins on Monday at midnight (ISO 8601).
	Week
	// Month begins on the first at midnight.
	Month
)

// String is the period in a sentence.
func (p Period) String() string { return [...]string{"", "day", "week", "month"}[p] }

// seconds of a period; of the longest month.
func (p Period) seconds() uint64 {
	return [...]uint64{0, 86400, 7 * 86400, 31 * 86400}[p]
}

// Calendar is windows that begin where a day, week or month does in some zone. Where
// a zone skips midnight they begin at the moment of the skip; where it has midnight
// twice, at the first. Safe for concurrent use.
type Calendar struct {
	period Period
	zone   string
	loc    *time.Location
	// cached is the span that was asked for last.
	cached atomic.Pointer[span]
}

// span is a window of the calendar and those beside it.
type span struct {
	// edges are where the window before, the window, the next, and the one after
	// that begin, in µs since Epoch.
	edges [4]int64
	text  string
}

// NewCalendar loads a zone of the IANA database.
func NewCalendar(p Period, zone string) (*Calendar, error) {
	if p < Day || p > Month {
		return nil, fmt.Errorf("period %d is unknown", p)
	}
	if zone == "" || zone == "Local" {
		return nil, fmt.Errorf("time zone %q is no name of the IANA database", zone)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is no name of the IANA database", zone)
	}
	return &Calendar{period: p, zone: zone, loc: loc}, nil
}

// Period of the calendar.
func (c *Calendar) Period() Period { return c.period }

// Zone is the name of its time zone.
func (c *Calendar) Zone() string { return c.zone }

// Window is where the window around now begins and ends, in µs since Epoch.
func (c *Calendar) Window(now int64) (from, to int64) {
	s := c.at(now)
	return s.edges[1], s.edges[2]
}

// Edges is where four windows in a row begin, the second being that around now: for
// somebody whose clock is not quite the same.
func (c *Calendar) Edges(now int64) string { return c.at(now).text }

func (c *Calendar) at(now int64) *span {
	now = max(0, now)
	if s := c.cached.Load(); s != nil && s.edges[1] <= now && now < s.edges[2] {
		return s
	}
	s := &span{}
	// The date says which window it is, but for an hour that a zone has twice.
	n := 0
	t := time.UnixMicro(now + Epoch).In(c.loc)
	for now < c.begins(t, n) {
		n--
	}
	for now >= c.begins(t, n+1) {
		n++
	}
	var text []byte
	for i := range s.edges {
		s.edges[i] = max(0, c.begins(t, n-1+i))
		text = append(strconv.AppendInt(text, s.edges[i], 10), ' ')
	}
	s.text = string(text)
	c.cached.Store(s)
	return s
}

// begins is when the nth window after that of t's date begins.
func (c *Calendar) begins(t time.Time, n int) int64 {
	y, m, d := t.Date()
	switch c.period {
	case Day:
		d += n
	case Week:
		d += 7*n - (int(t.Weekday())+6)%7
	default:
		m, d = m+time.Month(n), 1
	}
	return midnight(y, m, d, c.loc).UnixMicro() - Epoch
}

// midnight is the first moment of a date, or when the zone skips it, the moment of
// the skip.
func midnight(y int, m time.Month, d int, loc *time.Location) time.Time {
	utc := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	from, to := t.ZoneBounds()
	// Date is right in one of the two zones of a transition, not always in this one.
	_, offset := t.Zone()
	switch local := t.Unix() + int64(offset); {
	case local > utc.Unix():
		return from
	case local < utc.Unix():
		return to
	case from.IsZero():
		return t
	}
	_, before := from.Add(-1).Zone()
	if first := utc.Add(-time.Duration(before) * time.Second); first.Before(from) && first.Before(t) {
		return first
	}
	return t
}
