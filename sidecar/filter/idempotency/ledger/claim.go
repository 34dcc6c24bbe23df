// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"context"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// Claim is the right to execute a request. One goroutine at a time may use it. One of
// Complete, Tombstone, Release and Unknown settles it; End must follow in any case.
type Claim struct {
	ID record.ID
	// Fence is higher than that of any claim of ID before.
	Fence uint64
	// Attempt counts claims of ID from 1.
	Attempt uint32
}

// Dispatch must be called before the first byte goes to the application. false: the
// lease is over already; nothing may be sent, and End follows.
func (c *Claim) Dispatch() bool { return false }

// Complete stores the response before the client gets its last byte. It may be called
// after Overdue. What it keeps of reply it copies.
func (c *Claim) Complete(ctx context.Context, reply *exchange.Reply) Outcome {
	return Outcome{Saved: Pending}
}

// Tombstone is Complete for a response that is not kept: too large, or without end.
// location may be empty.
func (c *Claim) Tombstone(ctx context.Context, status int, location []byte) Outcome {
	return Outcome{Saved: Pending}
}

// Release: the request was not executed, for sure: nothing was sent, or the response
// says so. Whoever repeats it is dispatched.
func (c *Claim) Release(ctx context.Context) {}

// Unknown: it was sent, and nobody will know what came of it. With AtMostOnce nobody
// who repeats it is dispatched; with AtLeastOnce the lease runs out first.
func (c *Claim) Unknown(ctx context.Context) {}

// Overdue is Unknown for now: a response may come yet, and be given to Complete,
// Tombstone or Release.
func (c *Claim) Overdue(ctx context.Context) {}

// End lets go of the claim. Where nothing has settled it: Release when it was not
// dispatched, else Unknown, in the background.
func (c *Claim) End() {}
