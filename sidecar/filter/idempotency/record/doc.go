// SPDX-License-Identifier: Apache-2.0

// Package record is the state machine of idempotency: what is kept of a request, what
// may be done next, and what a store has to do for it.
//
// In: a record, its age, and a command (Apply) or one who asks (Decide). Out: the
// record after it and an answer, or a verdict. It is pure: no I/O, no clock, no lock.
// The Store interface is the shell around it; sidecar/store has the stores, and
// recordtest is their contract.
//
// There is one record for each ID, in one of five states, or none. A claim is a
// record that is Inflight; it is named by its owner and its fence, and every write
// over a record names the claim it is for:
//
//	            none         I, ours       I, another's  C or T        U, ours        U, another's  R
//	Begin       I            (ours)        found         found         found          found         found
//	Expire      missing      -             U, or I of    found         (as it was)    found         I of the next,
//	                                       the next: age                                           where there is one
//	                                       over lease
//	Renew       missing      I, age 0      found         found         found          found         found
//	Finish      written,     C, T or U     found         found, or     C, T or U      found         found; or lost as
//	            told lost                                (the same)                                 none, where R is
//	                                                                                                of a claim before
//	Release     missing      none, or R    found         found         none, or R     found         (ours) or found
//	lost write  -            none          none          I or none     I or none      I or none     I or none
//
// (ours), (the same) and (as it was) say that a command whose answer was lost is
// repeated, and finds itself carried out.
//
// What follows, as long as the store loses no write:
//
//   - One claim at a time. With AtMostOnce none follows another but one that was
//     released, which says that nothing was executed: a claim that is abandoned
//     becomes Unknown for good, until its own owner says what came of it.
//   - With AtLeastOnce an abandoned claim is taken over. Then two may execute the
//     request, of which the one with the higher fence has its response kept.
//   - One response: nothing is written over C and T.
//   - Fences that the application sees rise: a claim that takes over has a higher one
//     than the claim before, and one that was dispatched leaves R when it is released.
//
// Finish with the claim itself asserts it: it is written where it is missing, begins
// its lease anew, and is I again where it was U. Only what has been dispatched is
// asserted: when that is released it leaves R, which stays.
//
// Where the store has lost a write, the owner of what was lost is told: it finds
// nothing (Lost), or a claim that does not follow its own (Record.LostBefore).
//
// Leases need no clock but the store's: a record lives for its whole retention from
// each write on, so that its age is the retention less what is left to live. No owner
// has to do anything for an abandoned claim to be found out.
package record
