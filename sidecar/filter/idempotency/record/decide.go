// SPDX-License-Identifier: Apache-2.0

package record

import "time"

// Verdict is what a request that finds a record has to do.
type Verdict uint8

// The verdicts.
const (
	// Mine: the record is this call's own claim: execute.
	Mine Verdict = iota + 1
	// Replay: answer with the response kept.
	Replay
	// NotRetained: executed, and the response is not kept.
	NotRetained
	// OutcomeUnknown: dispatched once, and not again.
	OutcomeUnknown
	// Mismatch: another request under the same key.
	Mismatch
	// CredentialsDiffer: the key is another's.
	CredentialsDiffer
	// Wait: being executed.
	Wait
	// NeedAge: being executed, or abandoned; the age tells.
	NeedAge
	// GiveUp: abandoned; Expire without Next makes it Unknown.
	GiveUp
	// TakeOver: abandoned or released; Expire with Next claims it.
	TakeOver
)

// Asker is who asks.
type Asker struct {
	Owner       Owner
	Fingerprint Digest
	// Credentials; zero: they are not compared.
	Credentials Digest
	AtLeastOnce bool
	// AnyRequest: differing fingerprints do not matter.
	AnyRequest bool
}

// Decide says what who has to do about r, whose age is negative where it is not known.
//
// Credentials come before the fingerprint: who does not own a key learns nothing of
// the request. What was released binds nobody: a request refused with 401 is repeated
// with other credentials, one refused with 429 may be mended.
func (r *Record) Decide(age time.Duration, who *Asker) Verdict {
	switch {
	case r.State == Released:
		return TakeOver
	case r.Owner == who.Owner && r.State == Inflight:
		return Mine
	case who.Credentials != Digest{} && r.Credentials != who.Credentials:
		return CredentialsDiffer
	case r.Fingerprint != who.Fingerprint && !who.AnyRequest:
		return Mismatch
	}
	switch r.State {
	case Complete:
		return Replay
	case Tombstone:
		return NotRetained
	case Unknown:
		return OutcomeUnknown
	}
	switch {
	case age < 0:
		return NeedAge
	case age < r.Lease:
		return Wait
	case who.AtLeastOnce && r.Flags&AtLeastOnce != 0:
		return TakeOver
	}
	return GiveUp
}
