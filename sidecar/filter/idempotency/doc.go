// SPDX-License-Identifier: Apache-2.0

// Package idempotency is the filter that enforces one IdempotencyPolicy.
//
// In: the compiled policy, once; then exchanges. Out: Continue, NeedBody or Respond;
// fields for the application and for the client; claims of a ledger, each settled. For
// each exchange that the policy matches it finds the key and whose it is, makes an id
// of both that nobody can guess, and asks the ledger. What it decides by:
//
//	what is asked                                  | what happens
//	-----------------------------------------------|---------------------------------
//	GET, HEAD, OPTIONS, TRACE, CONNECT, gRPC       | passes, ignored
//	no key, or no value of the scope               | passes, ignored; or 400
//	a key malformed, too long, sent twice          | 400
//	the head tells all of this                     | before a byte of the body is read
//	body above the bound                           | 413; or passes, ignored
//	no record                                      | executed, recorded
//	a response                                     | replayed
//	in flight                                      | waited for; then joined, or 409
//	another request                                | 422; or replayed with a warning
//	other credentials                              | 409
//	an outcome that nobody knows                   | 409
//	a response that was not kept                   | 409 with its status
//	the store does not answer                      | 503; or passes, ignored
//
// What a response does to the record; the first row that fits holds:
//
//	the application says committed                 | kept, whatever the status
//	it says not-executed                           | released
//	it says in-progress                            | unknown
//	a delivery of Weir's own: 2xx                  | kept; any other: released
//	a status of releaseStatuses                    | released
//	5xx with AtLeastOnce                           | unknown until the lease is over
//	101, an event stream, a body above the bound   | a tombstone
//	any other                                      | kept
//
// And without one: nothing was sent: released; the head of a response came and its end
// did not, or nothing came: unknown. A response that comes late is taken as one.
//
// In Shadow it keeps records under ids of their own, without bodies, and counts what it
// would have done. It changes no field, waits for nothing but the store and the body,
// and refuses nothing.
//
// It never lets two requests of one id reach the application while the ledger says that
// the first may have, and never shows a response to who has other credentials. A
// request that no rule matches costs no allocation.
package idempotency
