// SPDX-License-Identifier: Apache-2.0

// Command naiveidem is a reverse proxy of net/http with the idempotency that a team
// writes in an afternoon: GET the response, SETNX a lock, GET again, execute, SET the
// response, DEL the lock. `make bench-idempotency` compares with it.
//
// In: an application, a Redis, a port with that and one without. Out: the application's
// answers, or those from the Redis. It is no part of Weir. What it does not do: compare
// requests or credentials, bound what it keeps, wait for a request in progress (409), or
// notice that a lock has run out.
package main
