// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/content"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/match"
)

// keepBytes bounds the memory that an exchange keeps for the next request.
const keepBytes = 64 << 10

// scratch is a filter's memory in an exchange's slot, reused with it.
type scratch struct {
	params match.Params
	rule   int
	canon  content.Canon
	// name is what the id is made of: the scope, then the key.
	name []byte
	// scoped is the length of the scope in name.
	scoped int
	buf    []byte
	// records and credentials hash under the keys for these.
	records, credentials keyed

	derived bool
	// ignored: the client is told that it passes unrecorded.
	ignored bool
	call    ledger.Call
	claim   *ledger.Claim
	// plan is what the head of the response means.
	plan plan
	// settled: the claim has been told.
	settled bool
	// late: the client was answered without the response.
	late   bool
	header []exchange.Field
	tail   []exchange.Field
	body   []byte
}

// plan is what is to become of a claim.
type plan uint8

const (
	// noPlan: there is no response.
	noPlan plan = iota
	// keep the response.
	keep
	// tombstone: executed, the response is not kept.
	tombstone
	// release: not executed.
	release
	// unknown: nobody knows.
	unknown
)

func (f *Filter) scratch(x *exchange.Exchange) *scratch {
	s, ok := x.State(f.env.Slot).(*scratch)
	if !ok {
		s = &scratch{}
		x.SetState(f.env.Slot, s)
	}
	return s
}

// reset forgets the request.
func (s *scratch) reset() {
	s.rule, s.scoped, s.derived = 0, 0, false
	s.name, s.buf = trim(s.name), trim(s.buf)
	s.claim, s.plan, s.settled, s.late = nil, noPlan, false, false
	clear(s.header)
	clear(s.tail)
	s.header, s.tail, s.body = s.header[:0], s.tail[:0], trim(s.body)
	s.call = ledger.Call{}
}

func trim(b []byte) []byte {
	if cap(b) > keepBytes {
		return nil
	}
	return b[:0]
}
