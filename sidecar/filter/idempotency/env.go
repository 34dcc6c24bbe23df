// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"context"
	"sync/atomic"

	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/idempotency/seal"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/nskey"
)

// Result is what became of a request that a policy matched.
type Result uint8

// The results. Those from WouldExecute on are of Shadow.
const (
	Executed Result = iota
	Replayed
	Joined
	Ignored
	FailedOpen
	KeyMissing
	KeyInvalid
	TooLarge
	Mismatch
	CredentialsDiffer
	InProgress
	Unknown
	NotRetained
	Unavailable
	WouldExecute
	WouldReplay
	WouldWait
	WouldRefuse
	// Results is how many there are.
	Results
)

// String is the result as a metric's label.
func (r Result) String() string {
	return [...]string{
		"executed", "replayed", "joined", "ignored", "failed_open", "key_missing", "key_invalid", "too_large", "mismatch", "credentials_differ",
		"in_progress", "unknown", "not_retained", "unavailable", "would_execute", "would_replay", "would_wait", "would_refuse",
	}[r]
}

// Metrics counts the requests of one policy.
type Metrics interface {
	Requested(Result)
}

// Shadow counts what a policy with mode Shadow would have done.
type Shadow struct{ Replay, Refuse, Wait atomic.Uint64 }

// Ledger decides on requests. See ledger.Ledger.
type Ledger interface {
	Begin(ctx context.Context, call *ledger.Call) ledger.Result
}

// Env is what a filter works with; every member but Sealer, Tokens and Metrics is
// needed.
type Env struct {
	Namespace string
	// Slot of the exchange's state that is the filter's.
	Slot   int
	Ledger Ledger
	// Store is the ledger's, for records of the key before a rotation.
	Store record.Store
	Keys  *nskey.Ring
	// Sealer of a policy that encrypts; nil: it does not.
	Sealer *seal.Sealer
	// Tokens returns those of a provider, nil where there is none.
	Tokens func(provider string) key.Tokens
	Shadow *Shadow
	// Metrics may be nil.
	Metrics Metrics
}
