// SPDX-License-Identifier: Apache-2.0

package http

import (
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// identity says who may set what; nil where nothing is said.
func (t *txn) identity() *exchange.Identity {
	if t.port == nil {
		return nil
	}
	return t.port.Identity
}

// dropListed takes away what Connection names: filters must see what the
// application sees, or a client could be counted by a key that it does not have.
func (t *txn) dropListed() {
	listed := t.connectionLists()
	if len(listed) == 0 {
		return
	}
	id := t.identity()
	for i := range t.head.fields {
		f := &t.head.fields[i]
		if t.upgrade != nil && rules.EqualFold(f.name, "upgrade") {
			continue
		}
		f.drop = f.drop || rules.Listed(listed, f.name, id)
	}
}

// connectionLists returns what the request's Connection fields name.
func (t *txn) connectionLists() []byte { return connectionLists(&t.head) }

func connectionLists(h *head) []byte {
	var listed []byte
	for i := range h.fields {
		if f := &h.fields[i]; len(f.name) == len("connection") && rules.EqualFold(f.name, "connection") {
			listed = rules.JoinList(listed, f.value)
		}
	}
	return listed
}
