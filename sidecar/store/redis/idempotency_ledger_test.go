// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"testing"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/redis/redistest"
)

// TestLedgerOverServerThatHangs: what was executed while the server hung is replayed
// everywhere afterwards, and nothing that was refused meanwhile is in the way.
func TestLedgerOverServerThatHangs(t *testing.T) {
	server := redistest.Start(t)
	opts := options(server.Addr)
	opts.Timeout = 100 * time.Millisecond
	var ledgers [2]*ledger.Ledger
	for i := range ledgers {
		l, err := ledger.New(ledger.Options{Store: NewRecords(dial(t, opts)), Notes: t.TempDir(), CacheBytes: -1, Patience: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Close)
		ledgers[i] = l
	}
	terms := &ledger.Terms{Lease: time.Minute, Retention: time.Hour}
	call := func(n byte) *ledger.Call { return &ledger.Call{ID: record.ID{n}, Terms: terms} }
	var claim *ledger.Claim
	claimed := func(l *ledger.Ledger, n byte) func() bool {
		return func() bool {
			res := l.Begin(t.Context(), call(n))
			claim = res.Claim
			return res.Kind == ledger.Claimed
		}
	}
	eventually(t, "a call is claimed", claimed(ledgers[0], 1))
	if !claim.Dispatch() {
		t.Fatal("Dispatch refuses")
	}
	server.Hang()
	if out := claim.Complete(t.Context(), &exchange.Reply{Status: 201, Body: []byte("x")}); out.Saved != ledger.Pending {
		t.Errorf("saved %d, want it to be pending", out.Saved)
	}
	claim.End()
	for _, l := range ledgers {
		if res := l.Begin(t.Context(), call(2)); res.Kind != ledger.Unavailable {
			t.Errorf("kind %d while the server hangs", res.Kind)
		}
	}
	server.Resume()
	eventually(t, "the response is replayed elsewhere", func() bool {
		res := ledgers[1].Begin(t.Context(), call(1))
		return res.Kind == ledger.Replay && string(res.Reply.Body) == "x"
	})
	eventually(t, "a call that was refused is claimed", claimed(ledgers[1], 2))
	claim.End()
}
