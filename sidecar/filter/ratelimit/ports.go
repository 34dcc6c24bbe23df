// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"context"
	"sync/atomic"

	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/filter/limiter"
)

// Store decides on limits that all pods share.
type Store interface {
	// Take sets the Decision of each op. The ops that are no shadows are all or
	// nothing: when one of them denies, none has spent. A shadow spends when it
	// allows. On an error nothing is decided; something may have been spent.
	Take(ctx context.Context, ops []limiter.Op) error
	// Release ends a request in progress that Take has let through. It does not
	// wait.
	Release(op limiter.Op)
	// Correct counts delta units more, or less, of a request that Take, or a lease, has
	// let through, by the receipt of op's Decision. It does not wait; false: it is dropped.
	Correct(op limiter.Op, delta int64) bool
}

// Table decides on one limit by itself, in memory. See memory.Table.
type Table interface {
	Take(key limiter.Key, r *limiter.Rule, spend bool) limiter.Decision
	Refund(key limiter.Key, r *limiter.Rule, receipt int64)
	Correct(key limiter.Key, r *limiter.Rule, receipt, delta int64)
}

// Bans counts denials of one limit by itself, in memory. See memory.Table.
type Bans interface {
	Banned(key limiter.Key, p *limiter.Penalty) int64
	Strike(key limiter.Key, p *limiter.Penalty) int64
}

// Denials remembers what the store has denied of one limit. See memory.Denials.
type Denials interface {
	Get(key limiter.Key, r *limiter.Rule, p *limiter.Penalty) (limiter.Decision, bool)
	Put(key limiter.Key, r *limiter.Rule, p *limiter.Penalty, d limiter.Decision)
}

// Leases spends tokens of one limit that the store has granted ahead. See lease.Table.
type Leases interface {
	// Take decides where known is true. Else the store is asked, and Answered or
	// Failed called.
	Take(key limiter.Key, r *limiter.Rule) (d limiter.Decision, ask limiter.Ask, known bool)
	Answered(key limiter.Key, r *limiter.Rule, ask limiter.Ask, d limiter.Decision)
	Failed(key limiter.Key, ask limiter.Ask)
	// Return takes back what Take has allowed.
	Return(key limiter.Key, r *limiter.Rule)
}

// Outcome is what a limit said.
type Outcome uint8

// The outcomes.
const (
	Allowed Outcome = iota
	Denied
	// WouldDeny is said by shadow limits.
	WouldDeny
)

// String is the outcome as a metric's label.
func (o Outcome) String() string {
	return [...]string{"allowed", "denied", "would_deny"}[o]
}

// Source is what a decision was taken from.
type Source uint8

// The sources.
const (
	// FromMemory: the limit's table in this pod.
	FromMemory Source = iota
	// FromStore: the shared store.
	FromStore
	// FromFallback: this pod's share, the store being away.
	FromFallback
	// FailedOpen and FailedClosed: the failure policy, the store being away.
	FailedOpen
	FailedClosed
	// FromDenyCache: what the store has denied until a time that has not come.
	FromDenyCache
	// FromLease: tokens that the store has granted ahead.
	FromLease
	// FromBan: the limit's penalty holds.
	FromBan
	// FromMissingKey: onMissingKey Deny.
	FromMissingKey
)

// String is the source as a metric's label.
func (s Source) String() string {
	return [...]string{"memory", "store", "fallback", "fail_open", "fail_closed", "deny_cache", "lease", "ban", "missing_key"}[s]
}

// Metrics gives out the counters of a limit, once for each compiled filter.
type Metrics interface {
	Limit(policy, limit string) LimitMetrics
}

// LimitMetrics counts decisions, and what responses change in them, on the path of a
// request.
type LimitMetrics interface {
	Decided(o Outcome, s Source)
	Corrected(c Correction)
}

// Env is what a filter works with; every member but Store, Denials, Leases, Tokens and Metrics is needed.
type Env struct {
	Namespace string
	// Slot of the exchange's state that is the filter's.
	Slot int
	// Store of limits with scope Cluster; nil: their tables take its place, for
	// one process that is a system by itself.
	Store Store
	// Table returns the table of a limit, the same for each call.
	Table func(id string) Table
	// Bans likewise.
	Bans func(id string) Bans
	// Denials likewise, of this Store: another one knows nothing of them. It is
	// needed with a Store.
	Denials func(id string) Denials
	// Leases likewise.
	Leases func(id string) Leases
	// Tokens returns those of a provider, nil where there is none. It is needed with
	// keys of claims.
	Tokens func(provider string) key.Tokens
	// WouldDeny returns a shadow limit's count, the same for each call.
	WouldDeny func(id string) *atomic.Uint64
	// Peers is how many ready pods share the policy; 0 counts as 1.
	Peers *atomic.Uint32
	// Metrics may be nil.
	Metrics Metrics
	// Random returns one of the n numbers from 0 on, by which Retry-After is spread;
	// nil: it is not. For concurrent use.
	Random func(n int64) int64
}
