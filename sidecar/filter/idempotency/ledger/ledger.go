// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// Terms are what a policy says; one value serves many calls and is not changed.
type Terms struct {
	// AtLeastOnce: an abandoned claim is dispatched again when its lease is over.
	// Otherwise its outcome is unknown for good.
	AtLeastOnce bool
	// Shadow marks the records: nobody is held to them.
	Shadow bool
	// WarnMismatch: a request that differs from the recorded one is treated as if it
	// did not, and Result.Mismatch says so.
	WarnMismatch bool
	// Lease is how long a claim holds without a renewal; at least 100 ms.
	Lease time.Duration
	// Wait is how long Begin waits for a call in progress; 0: not at all.
	Wait time.Duration
	// Retention of records; more than Lease.
	Retention time.Duration
	// Sealer encrypts responses; nil: they are kept as they are.
	Sealer Sealer
}

// Sealer encrypts what is kept of a response. Safe for concurrent use.
type Sealer interface {
	// Seal appends to dst plain, encrypted and bound to id.
	Seal(dst []byte, id record.ID, plain []byte) []byte
	// Open appends to dst what Seal was given. An error: sealed is not of this id, or
	// its key is gone.
	Open(dst []byte, id record.ID, sealed []byte) ([]byte, error)
}

// Call is one request.
type Call struct {
	ID          record.ID
	Fingerprint record.Digest
	// Credentials: zero where they are not to be compared. A request without
	// credentials has a digest of that.
	Credentials record.Digest
	Terms       *Terms
}

// Kind of a Result.
type Kind uint8

// The kinds.
const (
	// Claimed: to be executed, see Result.Claim.
	Claimed Kind = iota + 1
	// Replay: executed before; Result.Reply is the response.
	Replay
	// Joined: as Replay; it was being executed when Begin was called.
	Joined
	// Mismatch: the key was used for another request.
	Mismatch
	// CredentialsDiffer: the key was used under other credentials.
	CredentialsDiffer
	// InFlight: being executed still, after Terms.Wait; ask again in Result.Retry.
	InFlight
	// Unknown: dispatched, and nobody knows what came of it.
	Unknown
	// NotRetained: executed, but the response was not kept, or cannot be decrypted:
	// Result.Reply has its status, and its Location where there was one.
	NotRetained
	// Unavailable: the store does not answer.
	Unavailable
)

// Result of Begin.
type Result struct {
	Kind Kind
	// Claim is set with Claimed.
	Claim *Claim
	// Reply must not be changed; it stays valid.
	Reply *exchange.Reply
	// Mismatch: the request differs from the recorded one (Terms.WarnMismatch).
	Mismatch bool
	// Retry is set with InFlight and Unavailable.
	Retry time.Duration
	// Local: the store was not asked.
	Local bool
}

// Saved says what became of a response given to Complete or Tombstone.
type Saved uint8

// The outcomes.
const (
	// Stored: everybody who repeats the request gets this response.
	Stored Saved = iota + 1
	// StoredLost: as Stored; but the store had lost the claim, so that the request
	// may have been dispatched twice. It is counted.
	StoredLost
	// Superseded: another's claim holds. Where Outcome.Reply is not nil it is the
	// response that all others get; where it is nil that one is not known yet. The
	// client must not take this response for the outcome.
	Superseded
	// Pending: the store does not answer. The response is kept here and stored as
	// soon as it does.
	Pending
)

// Outcome of Complete and Tombstone.
type Outcome struct {
	Saved Saved
	// Reply is set with Superseded where the response that holds is known.
	Reply *exchange.Reply
}

// Metrics is told what happens. Its methods must not wait.
type Metrics interface {
	// InFlight changes how many claims this process has.
	InFlight(delta int)
	// Renewed counts renewals.
	Renewed(n int)
	// Fenced: a claim of this process was no longer its own at a write.
	Fenced()
	// Duplicate: a request was executed here though another claim holds.
	Duplicate()
	// Lost: the store had lost a claim.
	Lost()
	// Unknown: an outcome was recorded as unknown.
	Unknown()
	// Store tells how long one operation took.
	Store(op string, d time.Duration)
	// StoredBytes counts what was written of responses.
	StoredBytes(n int)
	// ReplayedLocally: without the store.
	ReplayedLocally()
}

// Options of a Ledger.
type Options struct {
	// Store of the records.
	Store record.Store
	// Notes is a directory that this ledger has for itself, and that outlives the
	// process: what a crash leaves behind is settled by the next ledger with it. It
	// is made where it is missing. Empty: no notes.
	Notes string
	// CacheBytes bounds the responses kept in memory; 0: DefaultCacheBytes,
	// negative: none.
	CacheBytes int
	// Patience is how long Complete waits for a store that does not answer; 0:
	// DefaultPatience.
	Patience time.Duration
	// Metrics may be nil.
	Metrics Metrics
}

// Defaults of Options.
const (
	DefaultCacheBytes = 8 << 20
	DefaultPatience   = time.Second
)

// Ledger keeps the claims of one process in one store. It outlives the policies that
// use it. Safe for concurrent use.
type Ledger struct {
	opts Options
}

// New returns a ledger, to be closed. An error: the directory of notes cannot be
// used. What notes of a process before say is settled in the background.
func New(opts Options) (*Ledger, error) {
	return &Ledger{opts: opts}, nil
}

// Close ends what runs in the background. Claims that are open are left to their
// notes and leases.
func (l *Ledger) Close() {}

// Begin decides on call. It waits for the store, and up to Terms.Wait for the same
// call in progress.
func (l *Ledger) Begin(ctx context.Context, call *Call) Result {
	return Result{Kind: Unavailable, Retry: time.Second}
}
