// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"strings"

	"github.com/cloudwego/thriftgo/parser"

	"weir.dev/weir/api/snapshot"
)

// named is a definition: a struct, an enum or a service, and the file it is in.
type named struct {
	unit *unit
	name string
}

// lookup finds the file that a name is in, and the name there.
func (u *unit) lookup(name string) (named, bool) {
	if prefix, rest, ok := cutLast(name); ok {
		other := u.includes[prefix]
		return named{other, rest}, other != nil
	}
	return named{u, name}, true
}

// cutLast cuts at the last dot.
func cutLast(name string) (before, after string, ok bool) {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// typ is a resolved type.
type typ struct {
	kind         snapshot.ThriftType_Kind
	def          named
	key, element *typ
	// size counts it and what it is made of: typedefs of typedefs can grow by powers.
	size int
}

// maxType bounds a type's size.
const maxType = 64

func (t *typ) scalar() bool { return t.kind <= snapshot.ThriftType_KIND_ENUM }

func (t *typ) integer() bool {
	return t.kind >= snapshot.ThriftType_KIND_I8 && t.kind <= snapshot.ThriftType_KIND_I64
}

// listed is a list or set of scalars.
func (t *typ) listed() bool {
	return (t.kind == snapshot.ThriftType_KIND_LIST || t.kind == snapshot.ThriftType_KIND_SET) && t.element.scalar()
}

// text is a string or a binary.
func (t *typ) text() bool {
	return t.kind == snapshot.ThriftType_KIND_STRING || t.kind == snapshot.ThriftType_KIND_BINARY
}

func baseType(name string) snapshot.ThriftType_Kind {
	switch name {
	case "bool":
		return snapshot.ThriftType_KIND_BOOL
	case "byte", "i8":
		return snapshot.ThriftType_KIND_I8
	case "i16":
		return snapshot.ThriftType_KIND_I16
	case "i32":
		return snapshot.ThriftType_KIND_I32
	case "i64":
		return snapshot.ThriftType_KIND_I64
	case "double":
		return snapshot.ThriftType_KIND_DOUBLE
	case "string":
		return snapshot.ThriftType_KIND_STRING
	case "binary":
		return snapshot.ThriftType_KIND_BINARY
	}
	return snapshot.ThriftType_KIND_UNSPECIFIED
}

// resolve finds what a type of a file is. The second result is a sentence without its
// end where there is no such type.
func (u *unit) resolve(t *parser.Type, depth int) (*typ, string) {
	if depth > maxNesting {
		return nil, "its typedefs nest too deep, or are a circle"
	}
	if k := baseType(t.Name); k != 0 {
		return &typ{kind: k, size: 1}, ""
	}
	switch t.Name {
	case "list", "set", "map":
		return u.container(t, depth)
	case "uuid":
		return nil, "uuid is not supported: use a string or a binary"
	}
	d, ok := u.lookup(t.Name)
	if !ok {
		prefix, _, _ := cutLast(t.Name)
		return nil, "there is no include for " + prefix + ", which " + t.Name + " needs"
	}
	switch {
	case d.unit.structs[d.name] != nil:
		return &typ{kind: snapshot.ThriftType_KIND_STRUCT, def: d, size: 1}, ""
	case d.unit.enums[d.name] != nil:
		return &typ{kind: snapshot.ThriftType_KIND_ENUM, def: d, size: 1}, ""
	case d.unit.typedefs[d.name] != nil:
		return d.unit.resolve(d.unit.typedefs[d.name].Type, depth+1)
	}
	return nil, "the type " + t.Name + " is unknown"
}

func (u *unit) container(t *parser.Type, depth int) (*typ, string) {
	element, problem := u.resolve(t.ValueType, depth+1)
	if problem != "" {
		return nil, problem
	}
	out := &typ{kind: snapshot.ThriftType_KIND_LIST, element: element, size: 1 + element.size}
	switch t.Name {
	case "set":
		out.kind = snapshot.ThriftType_KIND_SET
	case "map":
		out.kind = snapshot.ThriftType_KIND_MAP
		if out.key, problem = u.resolve(t.KeyType, depth+1); problem != "" {
			return nil, problem
		}
		out.size += out.key.size
	}
	if out.size > maxType {
		return nil, "it is made of more than 64 types"
	}
	return out, ""
}

// annotation is the first value under a key.
func annotation(all parser.Annotations, key string) (value string, ok bool) {
	for _, a := range all {
		if a.Key == key {
			if len(a.Values) == 0 {
				return "", true
			}
			return a.Values[0], true
		}
	}
	return "", false
}
