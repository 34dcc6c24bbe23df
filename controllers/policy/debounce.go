// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"sync"
	"time"
)

const (
	// quiet is how long nothing may happen before a namespace is worked on.
	quiet = 50 * time.Millisecond
	// patience is how long it waits at the most.
	patience = 500 * time.Millisecond
)

// debouncer makes one call of many that come close together.
type debouncer struct {
	mu      sync.Mutex
	waiting map[string]*wait
	// first is when the first touch came that has not been taken.
	first map[string]time.Time
}

type wait struct {
	timer *time.Timer
	until time.Time
}

func newDebouncer() *debouncer {
	return &debouncer{waiting: map[string]*wait{}, first: map[string]time.Time{}}
}

// touch calls fire once nobody has touched key for quiet, or patience after the
// first touch. The fire of the first touch is called, those of others are not.
func (d *debouncer) touch(key string, fire func()) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, again := d.first[key]; !again {
		d.first[key] = now
	}
	if w := d.waiting[key]; w != nil {
		w.timer.Reset(min(quiet, w.until.Sub(now)))
		return
	}
	w := &wait{until: now.Add(patience)}
	d.waiting[key] = w
	w.timer = time.AfterFunc(quiet, func() {
		d.mu.Lock()
		mine := d.waiting[key] == w
		if mine {
			delete(d.waiting, key)
		}
		d.mu.Unlock()
		// A touch may have set the timer again while it was going off.
		if mine {
			fire()
		}
	})
}

// taken returns when the first touch of key came since it was taken last, now if there
// was none.
func (d *debouncer) taken(key string, now time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, touched := d.first[key]
	if !touched {
		return now
	}
	delete(d.first, key)
	return first
}
