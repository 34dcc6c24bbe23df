// SPDX-License-Identifier: Apache-2.0

package http

import "bytes"

// hopByHop reports whether a field ends here: it speaks of the connection, or
// Connection, whose list is given, names it.
func (t *txn) hopByHop(f *field, listed []byte) bool {
	switch len(f.name) {
	case len("te"):
		if equalFold(f.name, "te") {
			return !equalFold(f.value, "trailers")
		}
	case len("upgrade"):
		if equalFold(f.name, "upgrade") {
			return true
		}
	case len("connection"): // keep-alive is as long
		if equalFold(f.name, "connection") || equalFold(f.name, "keep-alive") {
			return true
		}
	case len("proxy-connection"):
		if equalFold(f.name, "proxy-connection") {
			return true
		}
	}
	return len(listed) > 0 && lists(listed, f.name) && !t.protected(f.name)
}

// dropListed takes away what Connection names: filters must see what the
// application sees, or a client could be counted by a key that it does not have.
func (t *txn) dropListed() {
	listed := t.connectionLists()
	if len(listed) == 0 {
		return
	}
	for i := range t.head.fields {
		f := &t.head.fields[i]
		f.drop = f.drop || lists(listed, f.name) && !t.protected(f.name)
	}
}

// lists reports whether a comma-separated list names the field.
func lists(list, name []byte) bool {
	for len(list) > 0 {
		item := list
		if n := bytes.IndexByte(list, ','); n >= 0 {
			item, list = list[:n], list[n+1:]
		} else {
			list = nil
		}
		if sameName(trim(item), name) {
			return true
		}
	}
	return false
}

// protected fields cannot be removed by naming them in Connection: that would let
// a client take away what a proxy before us has said, or what policies and the
// application go by.
func (t *txn) protected(name []byte) bool {
	for _, prefix := range [...]string{"x-forwarded-", "content-", "weir-", "x-real-ip", "forwarded", "idempotency-key",
		"authorization", "cookie", "host", "transfer-encoding", "trailer", "expect"} {
		if hasPrefixFold(name, prefix) {
			return true
		}
	}
	return t.isIdentity(name)
}
