// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"fmt"
	"math"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// MaxDepth bounds how deep values nest, in requests and replies.
const MaxDepth = 64

// Limits bound what one conversion makes.
type Limits struct {
	// Call is the largest call in bytes; 0: DefaultCall.
	Call int
	// Response is the largest body of a response in bytes; 0: DefaultResponse.
	Response int
}

// Defaults of Limits.
const (
	// DefaultCall is what apache/thrift's servers take for the largest frame.
	DefaultCall     = 16_384_000
	DefaultResponse = 16 << 20
)

// Protocol of Thrift messages.
type Protocol uint8

// Protocols that calls are written in.
const (
	Binary Protocol = iota
	Compact
)

// Table is a compiled IDL with its routes.
type Table struct {
	// Transport and Protocol are how the application wants to be called.
	Transport snapshot.ThriftTransport
	Protocol  Protocol

	methods []*Method
	root    *node
	limits  Limits
}

// Method is one method of a service.
type Method struct {
	// Service and Name are as in the IDL.
	Service, Name string
	// Call is the name in messages.
	Call string
	// Oneway: there is no reply.
	Oneway bool

	arguments *structure
	result    *typ
	throws    []throw
	limits    Limits
}

// throw is a declared exception.
type throw struct {
	id        int16
	typ       *typ
	status    int
	statusOf  int16
	hasStatus bool
}

// Method returns a method by `Service.method`; nil: there is none.
func (t *Table) Method(name string) *Method {
	for _, m := range t.methods {
		if m.Service+"."+m.Name == name {
			return m
		}
	}
	return nil
}

// Compile makes a Table. An error is one of whoever made the Transcoding.
func Compile(in *snapshot.Transcoding, limits Limits) (*Table, error) {
	if limits.Call == 0 {
		limits.Call = DefaultCall
	}
	if limits.Response == 0 {
		limits.Response = DefaultResponse
	}
	t := &Table{Transport: in.GetTransport(), limits: limits, root: &node{}}
	if in.GetProtocol() == snapshot.ThriftProtocol_THRIFT_PROTOCOL_COMPACT {
		t.Protocol = Compact
	}
	c := &compiler{in: in}
	if err := c.types(); err != nil {
		return nil, err
	}
	for i, m := range in.GetMethods() {
		out, err := c.method(m, limits)
		if err != nil {
			return nil, fmt.Errorf("methods[%d] %s.%s: %w", i, m.GetService(), m.GetName(), err)
		}
		t.methods = append(t.methods, out)
	}
	for i, r := range in.GetRoutes() {
		if err := t.add(r); err != nil {
			return nil, fmt.Errorf("routes[%d] %s %s: %w", i, r.GetMethod(), r.GetPath(), err)
		}
	}
	return t, nil
}

// compiler holds what is referred to by index.
type compiler struct {
	in      *snapshot.Transcoding
	enums   []*enum
	structs []*structure
}

func (c *compiler) types() error {
	for _, e := range c.in.GetEnums() {
		c.enums = append(c.enums, newEnum(e))
	}
	for range c.in.GetStructs() {
		c.structs = append(c.structs, &structure{})
	}
	for i, s := range c.in.GetStructs() {
		if err := c.structure(c.structs[i], s); err != nil {
			return fmt.Errorf("structs[%d] %s: %w", i, s.GetName(), err)
		}
	}
	for i, s := range c.in.GetStructs() {
		if err := c.defaults(c.structs[i], s); err != nil {
			return fmt.Errorf("structs[%d] %s: %w", i, s.GetName(), err)
		}
	}
	return nil
}

func (c *compiler) structure(out *structure, s *snapshot.ThriftStruct) error {
	out.name = s.GetName()
	out.union = s.GetKind() == snapshot.ThriftStruct_KIND_UNION
	last := math.MinInt16 - 1
	for i, f := range s.GetFields() {
		if int(f.GetId()) <= last || f.GetId() > math.MaxInt16 {
			return fmt.Errorf("fields[%d]: id %d is not above %d", i, f.GetId(), last)
		}
		last = int(f.GetId())
		t, err := c.typ(f.GetType(), f.GetQuoted(), 0)
		if err != nil {
			return fmt.Errorf("fields[%d] %s: %w", i, f.GetName(), err)
		}
		out.fields = append(out.fields, &field{
			id: int16(f.GetId()), name: f.GetName(), key: appendString(nil, f.GetName()), typ: t, index: i, hidden: f.GetHidden(),
			required: f.GetRequiredness() == snapshot.ThriftField_REQUIREDNESS_REQUIRED,
			optional: f.GetRequiredness() == snapshot.ThriftField_REQUIREDNESS_OPTIONAL,
		})
	}
	return out.index()
}

// defaults are rendered once all types are known.
func (c *compiler) defaults(out *structure, s *snapshot.ThriftStruct) error {
	for i, f := range s.GetFields() {
		if f.GetDefaultJson() == "" {
			continue
		}
		to := out.fields[i]
		for p := range to.defaults {
			e := encoder{in: []byte(f.GetDefaultJson()), compact: Protocol(p) == Compact, max: DefaultCall}
			if err := e.whole(to.typ); err != nil {
				return fmt.Errorf("fields[%d] %s: default: %w", i, f.GetName(), err)
			}
			to.defaults[p] = e.out
		}
		d := decoder{in: to.defaults[Binary], max: DefaultResponse}
		if err := d.value(to.typ); err != nil {
			return fmt.Errorf("fields[%d] %s: default: %w", i, f.GetName(), err)
		}
		to.defaultJSON = d.out
	}
	return nil
}

func (c *compiler) method(m *snapshot.ThriftMethod, limits Limits) (*Method, error) {
	if int(m.GetArguments()) >= len(c.structs) {
		return nil, fmt.Errorf("arguments: there is no struct %d", m.GetArguments())
	}
	out := &Method{
		Service: m.GetService(), Name: m.GetName(), Call: m.GetCall(), Oneway: m.GetOneway(),
		arguments: c.structs[m.GetArguments()], limits: limits,
	}
	if out.Call == "" || len(out.Call) > message.MaxName {
		return nil, fmt.Errorf("a name of %d bytes is not between 1 and %d", len(out.Call), message.MaxName)
	}
	var err error
	if m.GetResult() != nil {
		if out.result, err = c.typ(m.GetResult(), false, 0); err != nil {
			return nil, fmt.Errorf("result: %w", err)
		}
	}
	for i, x := range m.GetThrows() {
		if int(x.GetException()) >= len(c.structs) || x.GetId() < 1 || x.GetId() > math.MaxInt16 || x.GetStatus() < 400 || x.GetStatus() > 599 {
			return nil, fmt.Errorf("throws[%d] is not valid", i)
		}
		out.throws = append(out.throws, throw{
			id: int16(x.GetId()), typ: &typ{kind: kindStruct, wire: wireStruct, structure: c.structs[x.GetException()]},
			status: int(x.GetStatus()), statusOf: int16(x.GetStatusField()), hasStatus: x.GetHasStatusField(),
		})
	}
	return out, nil
}

var errDeepType = errors.New("the type nests too deep")

func (c *compiler) typ(in *snapshot.ThriftType, quoted bool, depth int) (*typ, error) {
	if depth > MaxDepth {
		return nil, errDeepType
	}
	k := kind(in.GetKind())
	if k == 0 || k > kindMap {
		return nil, fmt.Errorf("kind %d is unknown", k)
	}
	t := &typ{kind: k, wire: k.wire(), quoted: quoted}
	t.compact = compactOf(t.wire)
	switch k {
	case kindEnum:
		if int(in.GetIndex()) >= len(c.enums) {
			return nil, fmt.Errorf("there is no enum %d", in.GetIndex())
		}
		t.enum = c.enums[in.GetIndex()]
	case kindStruct:
		if int(in.GetIndex()) >= len(c.structs) {
			return nil, fmt.Errorf("there is no struct %d", in.GetIndex())
		}
		t.structure = c.structs[in.GetIndex()]
	case kindList, kindSet, kindMap:
		var err error
		if t.element, err = c.typ(in.GetElement(), quoted, depth+1); err != nil {
			return nil, err
		}
		if k == kindMap {
			if t.key, err = c.typ(in.GetKey(), quoted, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}
