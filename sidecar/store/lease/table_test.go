// SPDX-License-Identifier: Apache-2.0

package lease_test

import (
	"encoding/binary"
	"testing"

	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/store/lease"
)

// book writes down what is asked for and given back.
type book struct {
	wants, refunds []uint64
	done           func(limiter.Decision, bool)
}

func (b *book) Refill(_ limiter.Key, _ *limiter.Rule, want uint64, done func(limiter.Decision, bool)) {
	b.wants = append(b.wants, want)
	b.done = done
}

func (b *book) Refund(_ limiter.Key, _ *limiter.Rule, n uint64, _ int64) {
	b.refunds = append(b.refunds, n)
}

// hold gives a new table a lease of n tokens, the first of which can be spent at once.
func hold(t *testing.T, now *int64, r *limiter.Rule, n uint64) (*lease.Table, *book) {
	t.Helper()
	b := &book{}
	table := lease.New(func() int64 { return *now }, b)
	table.Take(one, r)
	*now += limiter.Horizon
	_, ask, known := table.Take(one, r)
	if known {
		t.Fatal("a decision without tokens")
	}
	ask.Want = max(ask.Want, 1)
	level := int64(float64(r.Burst()-1) * r.Interval() * 1000)
	table.Answered(one, r, ask, limiter.Decision{Allowed: true, Lease: limiter.Lease{N: n, Level: level}})
	return table, b
}

func TestTokensHaveTheirTime(t *testing.T) {
	now := int64(1e12)
	r := leased(t, 1000, 1, 10)
	table, b := hold(t, &now, &r, 3)
	if d, _, known := table.Take(one, &r); !known || !d.Allowed {
		t.Fatalf("the first token: %+v", d)
	}
	d, _, known := table.Take(one, &r)
	if !known || d.Allowed || d.Retry != 1000 {
		t.Fatalf("before its time the second token: %+v", d)
	}
	now += 999
	if d, _, _ := table.Take(one, &r); d.Allowed || d.Retry != 1 {
		t.Fatalf("a µs before it: %+v", d)
	}
	now++
	if d, _, _ := table.Take(one, &r); !d.Allowed {
		t.Fatalf("at its time: %+v", d)
	}
	// What is left ends with the lease.
	now += limiter.LeaseLife
	if _, _, known := table.Take(one, &r); known {
		t.Error("a token is spent after the lease")
	}
	if len(b.refunds) != 1 || b.refunds[0] != 1 {
		t.Errorf("given back %v, want one token", b.refunds)
	}
}

func TestWhatIsNotSpentIsGivenBack(t *testing.T) {
	for name, end := range map[string]func(*lease.Table, *int64, limiter.Rule){
		"at the end": func(table *lease.Table, _ *int64, _ limiter.Rule) { table.Close() },
		"another rule": func(table *lease.Table, _ *int64, _ limiter.Rule) {
			other := leased(t, 999, 1, 10)
			table.Take(one, &other)
		},
		"idle": func(table *lease.Table, now *int64, _ limiter.Rule) {
			*now += 11_000_000
			table.Sweep()
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := int64(1e12)
			r := leased(t, 1000, 1, 10)
			table, b := hold(t, &now, &r, 5)
			table.Take(one, &r)
			table.Return(one, &r)
			b.refunds = nil
			end(table, &now, r)
			if len(b.refunds) != 1 || b.refunds[0] != 5 {
				t.Errorf("given back %v, want 5", b.refunds)
			}
		})
	}
}

// TestAnEmptyStoreIsLeftAlone for a pause, in which nobody waits for it.
func TestAnEmptyStoreIsLeftAlone(t *testing.T) {
	now := int64(1e12)
	r := leased(t, 1000, 1, 10)
	table, _ := hold(t, &now, &r, 0)
	d, _, known := table.Take(one, &r)
	if !known || d.Allowed || d.Retry != limiter.Reserve {
		t.Fatalf("%v %+v", known, d)
	}
	now += limiter.Reserve
	if _, _, known := table.Take(one, &r); known {
		t.Error("after the pause the store is not asked")
	}
}

// TestDebtsAreTold: a store that is in debt for long is asked now and then, and clients
// are told how long it has nothing.
func TestDebtsAreTold(t *testing.T) {
	now := int64(1e12)
	plain := leased(t, 1000, 1, 10)
	r := plain.Postpaid()
	table, _ := hold(t, &now, &r, 0)
	now += limiter.Reserve
	_, ask, known := table.Take(one, &r)
	if known {
		t.Fatal("after the pause the store is not asked")
	}
	ask.Want = max(ask.Want, 1)
	table.Answered(one, &r, ask, limiter.Decision{Retry: 900_000})
	if d, _, known := table.Take(one, &r); !known || d.Allowed || d.Retry != 900_000 {
		t.Errorf("%v %+v", known, d)
	}
}

// TestReceiptsOfTokens: a token that was spent is given back like one that the store has
// let through by itself, and no more than there was.
func TestReceiptsOfTokens(t *testing.T) {
	now := int64(1e12)
	plain := leased(t, 1000, 1, 10)
	r := plain.Postpaid()
	w := &world{now: now, delay: func() int64 { return 0 }}
	table := lease.New(func() int64 { return w.now }, w)
	table.Take(one, &r)
	w.now += limiter.Horizon
	_, ask, _ := table.Take(one, &r)
	ask.Want = 4
	d := r.Lease(&w.state, w.now, ask.Want)
	table.Answered(one, &r, ask, d)
	var receipts []int64
	for range 4 {
		d, _, known := table.Take(one, &r)
		if !known || !d.Allowed {
			t.Fatalf("%v %+v", known, d)
		}
		receipts = append(receipts, d.Receipt)
	}
	for range 2 { // the second time there is nothing
		for i := len(receipts) - 1; i >= 0; i-- {
			r.Refund(&w.state, w.now, receipts[i])
		}
	}
	// The request that was asked with is counted yet.
	if got := r.Take(&w.state, w.now, false).Remaining; got != 9 {
		t.Errorf("%d remain, want 9", got)
	}
}

// TestKeysWithoutRoom are the store's to decide, and get no tokens.
func TestKeysWithoutRoom(t *testing.T) {
	now := int64(1e12)
	table := lease.New(func() int64 { return now }, &book{})
	r := leased(t, 1000, 1, 10)
	for round := range 2 {
		for i := range 20_000 {
			var k limiter.Key
			binary.BigEndian.PutUint64(k[:], uint64(i)<<32)
			k[0] = byte(i)
			if _, ask, known := table.Take(k, &r); known || ask.Want > 0 && i >= 1<<13 {
				t.Fatalf("key %d in round %d: known %v, want %d", i, round, known, ask.Want)
			}
		}
	}
}
