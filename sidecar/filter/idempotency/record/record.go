// SPDX-License-Identifier: Apache-2.0

package record

import "time"

// ID names a record: an HMAC, so that no store learns of keys or clients.
type ID [16]byte

// Owner is one claim: of all claims, of all sidecars.
type Owner [16]byte

// Digest is a keyed hash of something that is not kept itself.
type Digest [16]byte

// State of a record.
type State byte

// The states. That there is no record is one too.
const (
	// Inflight: claimed, and for all that is known being executed.
	Inflight State = 'I'
	// Complete: executed; the response is kept.
	Complete State = 'C'
	// Tombstone: executed; of the response only status and location are kept.
	Tombstone State = 'T'
	// Unknown: dispatched, and nobody knows what came of it.
	Unknown State = 'U'
	// Released: dispatched, and known not to have been executed. It is kept for
	// a while, so that the fence of the next claim is higher.
	Released State = 'R'
)

// Flags of a record.
type Flags byte

// The flags.
const (
	// AtLeastOnce: an abandoned claim may be taken over, and be dispatched again.
	AtLeastOnce Flags = 1 << iota
	// Sealed: the payload is encrypted.
	Sealed
	// Shadow: no request has been held to the record.
	Shadow
)

// Record is what a store keeps of a request.
type Record struct {
	State State
	Flags Flags
	// Attempt counts claims, from 1.
	Attempt uint32
	// Fence rises with each claim of an ID: microseconds since 1970 by the store's
	// clock.
	Fence uint64
	// Origin is the fence of the first claim, which later ones inherit: where it
	// differs the store has lost a record in between.
	Origin uint64
	// Owner of the claim.
	Owner Owner
	// Fingerprint of the request.
	Fingerprint Digest
	// Credentials of the request; zero: they are not compared.
	Credentials Digest
	// Lease is how long a claim is taken to be alive without a sign of it. In whole
	// milliseconds, as Retention is, which is how long the record is kept after each
	// write.
	Lease, Retention time.Duration
	// Stamp is when the record left Inflight, as Fence; 0 before.
	Stamp uint64
	// Status of the response: of Complete and Tombstone.
	Status int
	// Payload is the response, see AppendReply; encrypted where Sealed.
	Payload []byte
}

// Ref names a claim. Fence 0: whichever the owner's claim has.
type Ref struct {
	Owner Owner
	Fence uint64
}

// Ref of the record's claim.
func (r *Record) Ref() Ref { return Ref{r.Owner, r.Fence} }
