// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"log/slog"
	"sync"
)

// StoreLog counts as Metrics do, and says in the log when a store goes away and
// when it is back: a line each, whatever the number of requests.
type StoreLog struct {
	*Metrics
	log *slog.Logger

	mu   sync.Mutex
	kind map[string]string // of a store's last error
	away map[string]bool
}

// NewStoreLog makes a StoreLog over m.
func NewStoreLog(m *Metrics, log *slog.Logger) *StoreLog {
	return &StoreLog{Metrics: m, log: log, kind: map[string]string{}, away: map[string]bool{}}
}

// StoreError implements engine.StoreMetrics.
func (l *StoreLog) StoreError(store, kind string) {
	l.Metrics.StoreError(store, kind)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kind[store] = kind
}

// StoreBreaker implements engine.StoreMetrics.
func (l *StoreLog) StoreBreaker(store string, open bool) {
	l.Metrics.StoreBreaker(store, open)
	l.mu.Lock()
	was, kind := l.away[store], l.kind[store]
	l.away[store] = open
	l.mu.Unlock()
	switch {
	case open && !was:
		l.log.Warn("the store does not answer: until it does, failurePolicy holds", "store", store, "error", kind)
	case was && !open:
		l.log.Info("the store answers again", "store", store)
	}
}
