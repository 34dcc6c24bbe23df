// SPDX-License-Identifier: Apache-2.0

package ledger

import (
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
