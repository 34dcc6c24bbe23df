// SPDX-License-Identifier: Apache-2.0

package message

// kind is the type of a value, in the binary protocol's numbers.
type kind byte

const (
	stop       kind = 0
	boolean    kind = 2
	i8         kind = 3
	double     kind = 4
	i16        kind = 6
	i32        kind = 8
	i64        kind = 10
	text       kind = 11
	structure  kind = 12
	mapping    kind = 13
	set        kind = 14
	list       kind = 15
	uuid       kind = 16
	noKind     kind = 0xff
	compactEnd      = 14
)

// compactKind is the kind of a type of the compact protocol. Its two booleans of
// fields are one.
func compactKind(t byte) kind {
	kinds := [compactEnd]kind{noKind, boolean, boolean, i8, i16, i32, i64, double, text, list, set, mapping, structure, uuid}
	if t >= compactEnd {
		return noKind
	}
	return kinds[t]
}

// binaryKind is the kind of a type of the binary protocol.
func binaryKind(t byte) kind {
	switch k := kind(t); k {
	case boolean, i8, double, i16, i32, i64, text, structure, mapping, set, list, uuid:
		return k
	}
	return noKind
}

// jsonKind is the kind of a type of the JSON protocol.
func jsonKind(name []byte) kind {
	switch string(name) {
	case "tf":
		return boolean
	case "i8":
		return i8
	case "i16":
		return i16
	case "i32":
		return i32
	case "i64":
		return i64
	case "dbl":
		return double
	case "str":
		return text
	case "rec":
		return structure
	case "map":
		return mapping
	case "lst":
		return list
	case "set":
		return set
	case "uid":
		return uuid
	}
	return noKind
}

// fixed is how many bytes each value of k takes, 0 where they differ. Compact integers
// are varints.
func (k kind) fixed(p Protocol) int {
	switch k {
	case boolean, i8:
		return 1
	case double:
		return 8
	case uuid:
		return 16
	}
	if p == Compact {
		return 0
	}
	switch k {
	case i16:
		return 2
	case i32:
		return 4
	case i64:
		return 8
	}
	return 0
}

// least is how few bytes a value of k can take; never 0, so that no count is good for
// more values than there are bytes.
func (k kind) least(p Protocol) int {
	if n := k.fixed(p); n > 0 {
		return n
	}
	if p == Compact {
		return 1
	}
	switch k {
	case text:
		return 4
	case set, list:
		return 5
	case mapping:
		return 6
	}
	return 1
}
