// SPDX-License-Identifier: Apache-2.0

package redis

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

//go:embed idempotency.lua
var idempotencyLua string

// recordCall is one command on its way through a pipeline. Like call it is returned
// to the pool by whoever is last with it. What it points at is its own, so that a
// caller may leave.
type recordCall struct {
	op    record.Op
	state atomic.Uint32
	done  chan struct{}
	timer *time.Timer

	key   string
	owner bytesArg
	fenc  bytesArg
	// claim is the header that Begin writes and that Finish expects.
	claim bytesArg
	// next is the record to be written.
	next bytesArg
	keep int64
	// fence that Begin has written.
	fence uint64
	// native: sent as a command, not as the script.
	native bool

	args   [9]any
	cmd    *redis.Cmd
	ttl    *redis.Cmd
	answer record.Answer
	err    error
}

// bytesArg is an argument without an allocation.
type bytesArg struct{ b []byte }

// MarshalBinary implements encoding.BinaryMarshaler.
func (a *bytesArg) MarshalBinary() ([]byte, error) { return a.b, nil }

func (a *bytesArg) set(b []byte) { a.b = append(a.b[:0], b...) }

// roomy is the size of a buffer that is not kept for the next call.
const roomy = 64 << 10

func newRecordCall() *recordCall {
	c := &recordCall{done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	c.timer.Stop()
	return c
}

func (c *recordCall) load(prefix string, id record.ID, cmd *record.Command) {
	c.op, c.keep, c.fence, c.native = cmd.Op, 0, 0, false
	c.cmd, c.ttl, c.answer, c.err = nil, nil, record.Answer{}, nil
	c.state.Store(callPending)
	var key [128]byte
	b := append(key[:0], prefix...)
	b = append(b, ":{i"...)
	b = hex.AppendEncode(b, id[:])
	c.key = string(append(b, '}'))

	ref := cmd.Ref
	if cap(c.next.b) > roomy {
		c.next.b = nil
	}
	c.next.b = c.next.b[:0]
	if next := cmd.Next; next != nil {
		keep := cmd.Keep
		if keep == 0 {
			keep = next.Retention
		}
		c.keep = max(1, keep.Milliseconds())
		if c.op == record.Finish || c.op == record.Renew {
			ref = next.Ref()
		}
		if c.op == record.Finish {
			c.claimOf(next)
		}
		if c.op != record.Renew {
			c.next.b = next.Append(c.next.b)
		}
	}
	c.owner.set(ref.Owner[:])
	c.fenc.b = c.fenc.b[:0]
	if ref.Fence != 0 {
		c.fenc.b = appendFence(c.fenc.b, ref.Fence)
	}
}

// claimOf sets the claim to what it must have been for next to finish it.
func (c *recordCall) claimOf(next *record.Record) {
	claim := *next
	claim.State, claim.Flags, claim.Stamp, claim.Status = record.Inflight, next.Flags&^record.Sealed, 0, 0
	var h [record.HeaderLen]byte
	claim.PutHeader(&h)
	c.claim.set(h[:])
}

// stamp sets the fence of a first claim.
func (c *recordCall) stamp(now uint64) {
	c.fence = now
	copy(c.next.b[4:], []byte{0, 0, 0, 1})
	fence := appendFence(make([]byte, 0, 8), now)
	copy(c.next.b[8:], fence)
	copy(c.next.b[16:], fence)
}

func appendFence(b []byte, fence uint64) []byte {
	for shift := 56; shift >= 0; shift -= 8 {
		b = append(b, byte(fence>>shift))
	}
	return b
}

func (c *recordCall) abandon() bool {
	if c.state.CompareAndSwap(callPending, callAbandoned) {
		return true
	}
	<-c.done
	return false
}

// errForeign is an answer that is not the script's.
var errForeign = errors.New("the reply is malformed")

// parse sets the answer from a reply of the script; Begin's is a plain record.
func (c *recordCall) parse(text string, ok bool) error {
	if c.op == record.Begin {
		return c.parseBegun(text, ok)
	}
	if !ok || text == "" {
		return fmt.Errorf("%w: %.40q", errForeign, text)
	}
	switch text[0] {
	case 'A':
		c.answer.Result = record.Applied
	case 'L':
		c.answer.Result = record.Lost
	case 'M':
		c.answer.Result = record.Missing
	case 'F':
		c.answer = record.Answer{Result: record.Found, Age: -1}
	default:
		return fmt.Errorf("%w: %.40q", errForeign, text)
	}
	if len(text) == 1 {
		return nil
	}
	c.answer.Record = new(record.Record)
	return c.answer.Record.Decode([]byte(text[1:]))
}

// parseBegun reads what was there before a claim.
func (c *recordCall) parseBegun(text string, ok bool) error {
	if !ok {
		c.answer = record.Answer{Result: record.Applied}
		return nil
	}
	rec := new(record.Record)
	if err := rec.Decode([]byte(text)); err != nil {
		return err
	}
	c.answer = record.Answer{Result: record.Found, Record: rec, Age: -1}
	if rec.State == record.Inflight && string(rec.Owner[:]) == string(c.next.b[24:40]) {
		c.answer.Result = record.Applied
	}
	return nil
}
