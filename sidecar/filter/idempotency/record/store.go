// SPDX-License-Identifier: Apache-2.0

package record

import (
	"context"
	"errors"
	"time"
)

// ErrUnavailable: the store has not answered. What was asked may have been carried
// out; each command can be repeated.
var ErrUnavailable = errors.New("the store of idempotency records is unavailable")

// ErrNotSent comes with ErrUnavailable where what was asked was certainly not carried
// out, and will not be.
var ErrNotSent = errors.New("not asked")

// Op is what a command does.
type Op uint8

// The operations, see the table in this package's documentation.
const (
	// Begin writes Next, a claim, where there is no record. The store sets its
	// Fence, Origin and Attempt.
	Begin Op = iota + 1
	// Look reads.
	Look
	// Expire ends the claim Ref whose lease is over, or that was released: Next
	// takes over, with a higher fence that the store sets, or it is unknown where
	// Next is nil.
	Expire
	// Renew starts the lease of the claim Next anew.
	Renew
	// Finish writes Next over the claim of its owner and fence.
	Finish
	// Release takes the claim Ref away, leaving Next where it is not nil, and at least
	// that it was released where there were attempts before.
	Release
)

// Command is one atomic step on one record. Each may be repeated when its answer was
// lost: carried out twice it does what it does once.
type Command struct {
	Op   Op
	Ref  Ref
	Next *Record
	// Keep is how long Next stays in place of its Retention; 0: that.
	Keep time.Duration
}

// Result of a command.
type Result uint8

// The results.
const (
	// Applied: carried out; Answer.Record is what there is now.
	Applied Result = iota + 1
	// Lost: carried out where the claim ought to have been and was not: the store
	// has lost an acknowledged write.
	Lost
	// Found: not carried out; Answer.Record is what is in the way.
	Found
	// Missing: not carried out; there is no record.
	Missing
)

// Answer of a store.
type Answer struct {
	Result Result
	// Record is the caller's. Nil where there is none; after Finish and Renew also
	// where it is Next.
	Record *Record
	// Age is the time since the record was written or renewed, by the store's clock;
	// negative: it was not asked for (by Begin).
	Age time.Duration
}

// Store keeps records. Safe for concurrent use.
type Store interface {
	// Do carries out cmd. Its error wraps ErrUnavailable, or is of ctx. Begin, Look
	// and Expire fail soon where the store is in trouble; the others try it even then.
	Do(ctx context.Context, id ID, cmd Command) (Answer, error)
	// Renew carries out many renewals at once, setting their answers.
	Renew(ctx context.Context, all []Renewal) error
}

// Doubter is a Store that may notice when it has perhaps lost writes.
type Doubter interface {
	// OnDoubt has f called then. f does not wait. Called once, before the store is used.
	OnDoubt(f func())
}

// Renewal is one of many.
type Renewal struct {
	ID ID
	// Claim is the record as it was claimed.
	Claim  *Record
	Answer Answer
}

// String is the name of op in metrics.
func (op Op) String() string {
	switch op {
	case Begin:
		return "begin"
	case Look:
		return "look"
	case Expire:
		return "expire"
	case Renew:
		return "renew"
	case Finish:
		return "finish"
	case Release:
		return "release"
	}
	return "unknown"
}
