// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
)

type message struct {
	says string
	name string
	kind thrift.TMessageType
	seq  int32
	body func(w *writer)
}

func messages() []message {
	void := func(w *writer) { w.structure(func() {}) }
	return []message{
		{"call", "Pay", thrift.CALL, 7, func(w *writer) { w.everything(false) }},
		{"call-reversed", "Pay", thrift.CALL, 8, func(w *writer) { w.everything(true) }},
		{"call-multiplexed", "svc:Pay", thrift.CALL, -2, func(w *writer) { w.everything(false) }},
		{"call-empty", "ping", thrift.CALL, 0, void},
		{"oneway", "Note", thrift.ONEWAY, 2147483647, func(w *writer) { w.structure(func() { w.text(1, "n") }) }},
		{"reply", "Pay", thrift.REPLY, 7, func(w *writer) { w.structure(func() { w.i32(0, 42) }) }},
		{"reply-void", "Pay", thrift.REPLY, 300, void},
		{"reply-declared", "Pay", thrift.REPLY, 7, func(w *writer) {
			w.structure(func() { w.nested(1, func() { w.text(1, "no funds") }) })
		}},
		{"exception", "Pay", thrift.EXCEPTION, 7, func(w *writer) {
			w.structure(func() { w.text(1, "over limit"); w.i32(2, 6) })
		}},
	}
}

// writer keeps the first error.
type writer struct {
	ctx context.Context
	p   thrift.TProtocol
	err error
}

func (w *writer) check(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *writer) structure(fields func()) {
	w.check(w.p.WriteStructBegin(w.ctx, "s"))
	fields()
	w.check(w.p.WriteFieldStop(w.ctx))
	w.check(w.p.WriteStructEnd(w.ctx))
}

func (w *writer) field(id int16, t thrift.TType, value func()) {
	w.check(w.p.WriteFieldBegin(w.ctx, "f", t, id))
	value()
	w.check(w.p.WriteFieldEnd(w.ctx))
}

func (w *writer) nested(id int16, fields func()) {
	w.field(id, thrift.STRUCT, func() { w.structure(fields) })
}
func (w *writer) text(id int16, s string) {
	w.field(id, thrift.STRING, func() { w.check(w.p.WriteString(w.ctx, s)) })
}
func (w *writer) i32(id int16, v int32) {
	w.field(id, thrift.I32, func() { w.check(w.p.WriteI32(w.ctx, v)) })
}
func (w *writer) boolean(id int16, v bool) {
	w.field(id, thrift.BOOL, func() { w.check(w.p.WriteBool(w.ctx, v)) })
}

// list writes elements in order.
func (w *writer) list(id int16, t thrift.TType, n int, elem func(i int)) {
	w.field(id, thrift.LIST, func() {
		w.check(w.p.WriteListBegin(w.ctx, t, n))
		for i := range n {
			elem(i)
		}
		w.check(w.p.WriteListEnd(w.ctx))
	})
}

// each calls yield with 0 to n-1, or the other way round.
func each(n int, reversed bool, yield func(i int)) {
	for i := range n {
		if reversed {
			i = n - 1 - i
		}
		yield(i)
	}
}

// everything is a struct with each type; reversed: with its maps and sets the other way
// round.
func (w *writer) everything(reversed bool) {
	ctx, p := w.ctx, w.p
	w.structure(func() {
		w.boolean(1, true)
		w.boolean(2, false)
		w.field(3, thrift.BYTE, func() { w.check(p.WriteByte(ctx, -5)) })
		w.field(4, thrift.I16, func() { w.check(p.WriteI16(ctx, -300)) })
		w.i32(5, 70000)
		w.field(6, thrift.I64, func() { w.check(p.WriteI64(ctx, -5_000_000_000_000)) })
		w.field(7, thrift.DOUBLE, func() { w.check(p.WriteDouble(ctx, 1.5)) })
		w.text(8, "héllo\n\"q\"")
		w.field(9, thrift.STRING, func() { w.check(p.WriteBinary(ctx, []byte{0, 1, 0xfe, 0xff})) })
		w.list(10, thrift.I32, 3, func(i int) { w.check(p.WriteI32(ctx, []int32{1, -2, 300}[i])) })
		w.field(11, thrift.SET, func() {
			w.check(p.WriteSetBegin(ctx, thrift.STRING, 3))
			each(3, reversed, func(i int) { w.check(p.WriteString(ctx, []string{"a", "b", "c"}[i])) })
			w.check(p.WriteSetEnd(ctx))
		})
		w.field(12, thrift.MAP, func() {
			w.check(p.WriteMapBegin(ctx, thrift.STRING, thrift.I64, 3))
			each(3, reversed, func(i int) {
				w.check(p.WriteString(ctx, []string{"x", "y", "z"}[i]))
				w.check(p.WriteI64(ctx, []int64{1, -2, 3}[i]))
			})
			w.check(p.WriteMapEnd(ctx))
		})
		w.nested(13, func() {
			w.text(1, "inner")
			w.nested(3, func() { w.i32(1, 5) })
		})
		w.list(14, thrift.BOOL, 3, func(i int) { w.check(p.WriteBool(ctx, i != 1)) })
		w.field(15, thrift.MAP, func() {
			w.check(p.WriteMapBegin(ctx, thrift.I32, thrift.LIST, 2))
			each(2, reversed, func(i int) {
				w.check(p.WriteI32(ctx, int32(i)))
				w.check(p.WriteListBegin(ctx, thrift.STRUCT, 1))
				w.structure(func() { w.text(1, []string{"p", "q"}[i]) })
				w.check(p.WriteListEnd(ctx))
			})
			w.check(p.WriteMapEnd(ctx))
		})
		w.list(16, thrift.STRING, 0, func(int) {})
		w.field(17, thrift.MAP, func() {
			w.check(p.WriteMapBegin(ctx, thrift.STRING, thrift.STRING, 0))
			w.check(p.WriteMapEnd(ctx))
		})
		w.text(40, "far")
		w.i32(200, -1)
		w.list(201, thrift.I64, 20, func(i int) { w.check(p.WriteI64(ctx, int64(i)*1_000_003)) })
	})
}
