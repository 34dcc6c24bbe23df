// SPDX-License-Identifier: Apache-2.0

package ledger

import "math/bits"

// An arena's pages; what it has room for is what can wait for the store after a crash.
const (
	pageLen    = 4096
	arenaPages = 4096
)

// run is pages in a row.
type run struct{ from, n int }

// arena says which pages are in use. It takes the lowest, so that few are ever touched.
type arena struct{ used [arenaPages / 64]uint64 }

// take finds pages for size bytes.
func (a *arena) take(size int) (run, bool) {
	n := (size + pageLen - 1) / pageLen
	for from := 0; from+n <= arenaPages; {
		at := a.lastUsed(from, from+n)
		if at < 0 {
			a.mark(run{from, n}, true)
			return run{from, n}, true
		}
		from = at + 1
		if word := a.used[min(from/64, len(a.used)-1)] >> (from % 64); from < arenaPages && word&1 != 0 {
			// Skip what is in use in one go.
			from += bits.TrailingZeros64(^word)
		}
	}
	return run{}, false
}

// lastUsed is the last page in use of [from, to), so that a search goes on behind it;
// -1: none.
func (a *arena) lastUsed(from, to int) int {
	for i := to - 1; i >= from; i-- {
		if a.used[i/64]&(1<<(i%64)) != 0 {
			return i
		}
	}
	return -1
}

func (a *arena) give(r run) { a.mark(r, false) }

func (a *arena) mark(r run, used bool) {
	for i := r.from; i < r.from+r.n; i++ {
		if used {
			a.used[i/64] |= 1 << (i % 64)
		} else {
			a.used[i/64] &^= 1 << (i % 64)
		}
	}
}
