// SPDX-License-Identifier: Apache-2.0

// Package ledger runs idempotency in one process, on top of a record.Store: it claims
// requests, waits for those that are executed already, keeps up the leases of those
// that take long, and has their outcomes stored whatever happens.
//
// In: calls (a record's ID, digests of the request and of its credentials, the terms of
// a policy). Out: a claim to execute the request, the response there is, or why there
// is none. The one who executes says on the claim how it went:
//
//	before the first byte is sent          Dispatch
//	the response, before its last byte     Complete, or Tombstone
//	nothing was executed                   Release
//	sent, and no answer will come          Unknown
//	sent, and no answer in time            Overdue, then any of the above
//	always                                 End
//
// A first call takes two round trips, Begin and Finish; a replay one, or none where
// this process has the response in memory. Of the calls of one process with the same
// ID one asks the store, the others wait for it.
//
// A store that is away fails Begin at once. Outcomes are offered to it for a while by
// whoever waits, then in the background, in bounds, for 15 minutes or a lease: also
// when others have found the claim abandoned meanwhile, since an outcome that is known
// replaces one that is not.
//
// What is under way is noted on disk, in a file that outlives the process when it is
// killed: a claim, that it is dispatched, and its final record until it is stored
// (encrypted, where records are). The next process releases what was not dispatched,
// records as unknown what was (with AtLeastOnce the lease runs out instead), and stores
// what was captured. Notes do not survive the machine; those of an earlier boot are
// believed only as far as they can be.
//
// It must never let a request be dispatched without a claim, nor answer with a response
// of other credentials.
package ledger
