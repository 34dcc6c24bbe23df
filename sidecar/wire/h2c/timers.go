// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"sync"
	"time"
)

// timers are stopped together.
type timers struct {
	mu      sync.Mutex
	list    []*time.Timer
	stopped bool
}

func (s *timers) add(d time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.list = append(s.list, time.AfterFunc(d, f))
	}
}

func (s *timers) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, t := range s.list {
		t.Stop()
	}
}
