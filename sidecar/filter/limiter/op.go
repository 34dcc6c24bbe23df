// SPDX-License-Identifier: Apache-2.0

package limiter

import (
	"errors"
	"time"
)

// Epoch is where times begin, 2020-01-01T00:00Z in µs since 1970: doubles, which
// Lua counts with, are finer near it.
const Epoch = 1_577_836_800_000_000

// Micros is t as rules take it.
func Micros(t time.Time) int64 { return t.UnixMicro() - Epoch }

// Key is a 128-bit hash of what a request is counted by.
type Key [16]byte

// Op is one limit's question to a store, and the store's answer.
type Op struct {
	// ID is `<policy>/<limit>`: whose counter it is.
	ID     string
	Rule   *Rule
	Key    Key
	Shadow bool
	// Penalty may be nil.
	Penalty *Penalty
	// Want is how many tokens to lease besides, with a leased Rule.
	Want uint64
	// Decision is set by the store.
	Decision Decision
}

// ErrUnavailable is returned by a store that cannot decide now.
var ErrUnavailable = errors.New("the store is unavailable")

// Denied reports whether an op that is no shadow was denied.
func Denied(ops []Op) bool {
	for i := range ops {
		if !ops[i].Shadow && !ops[i].Decision.Allowed {
			return true
		}
	}
	return false
}
