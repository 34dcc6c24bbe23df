// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"cmp"
	"slices"
	"strings"

	"github.com/cloudwego/thriftgo/parser"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
)

// maxMethods bounds mapped methods, and routes.
const maxMethods = 1024

// Compile makes the mapping of an IDL: of the methods with api annotations and those that
// routes name. It is nil where a finding is no warning.
func Compile(src Source) (*snapshot.Transcoding, []Finding) {
	c, ok := open(src)
	if !ok {
		return nil, c.sorted()
	}
	routes := c.annotated()
	if src.Routes != "" {
		routes = append(routes, c.written(src.Routes)...)
	}
	if len(routes) == 0 && !c.failed() {
		c.add(src.Main, position{}, false, "No method is mapped: give methods an annotation as in (api.post = \"/payments\"), or write routes.")
	}
	c.ambiguous(routes)
	out := &snapshot.Transcoding{Transport: c.transport, Protocol: c.protocol}
	c.finish(out, routes)
	if c.failed() {
		return nil, c.sorted()
	}
	return out, c.sorted()
}

// CompileMethod makes a mapping of one method, `Service.method`, without routes.
func CompileMethod(src Source, name string) (*snapshot.Transcoding, []Finding) {
	c, ok := open(src)
	if !ok {
		return nil, c.sorted()
	}
	service, method, _ := cutLast(name)
	if c.method(service, method) == nil {
		c.add(src.Main, position{}, false, "There is no method %s; there are %s.", name, strings.Join(c.methodNames(), ", "))
		return nil, c.sorted()
	}
	out := &snapshot.Transcoding{Transport: c.transport, Protocol: c.protocol}
	c.finish(out, nil)
	if c.failed() {
		return nil, c.sorted()
	}
	return out, c.sorted()
}

// compiler is what an IDL is while it is worked on.
type compiler struct {
	flattener
	files       map[string]string
	transport   snapshot.ThriftTransport
	protocol    snapshot.ThriftProtocol
	multiplexed bool
	// methods are those that are needed.
	methods map[string]*method
}

// method is a method that is needed.
type method struct {
	service, name string
	unit          *unit
	// owner is the service whose text has it, which may be one that service extends.
	owner     string
	parsed    *parser.Function
	arguments *flatStruct
	result    *typ
	throws    []throw
	index     uint32
}

type throw struct {
	id       int32
	typ      *typ
	name     string
	status   uint32
	statusOf *flatField
}

// place is the outline's name.
func (m *method) place() string { return m.owner + "." + m.name }

func (m *method) at() position { return m.unit.at(m.place()) }

func open(src Source) (*compiler, bool) {
	found := &findings{}
	l := &loader{findings: found, files: src.Files, units: map[string]*unit{}}
	main := l.main(src)
	c := &compiler{
		flattener: flattener{findings: found, main: main, structs: map[named]*flatStruct{}, enums: map[named]*flatEnum{}},
		files:     src.Files, methods: map[string]*method{},
		transport: snapshot.ThriftTransport_THRIFT_TRANSPORT_FRAMED, protocol: snapshot.ThriftProtocol_THRIFT_PROTOCOL_BINARY,
	}
	return c, main != nil && !found.failed()
}

// each calls visit with the methods of a service and those that it extends.
func (c *compiler) each(service *parser.Service, visit func(u *unit, owner *parser.Service, f *parser.Function)) {
	u, s := c.main, service
	for range maxNesting {
		for _, f := range s.Functions {
			visit(u, s, f)
		}
		if s.Extends == "" {
			return
		}
		d, ok := u.lookup(s.Extends)
		if !ok || d.unit.services[d.name] == nil {
			c.add(u.name, u.at(s.Name), false, "%s extends %s, which is unknown.", s.Name, s.Extends)
			return
		}
		u, s = d.unit, d.unit.services[d.name]
	}
	c.add(c.main.name, c.main.at(service.Name), false, "%s extends itself.", service.Name)
}

func (c *compiler) methodNames() []string {
	var out []string
	for _, s := range c.main.ast.Services {
		c.each(s, func(_ *unit, _ *parser.Service, f *parser.Function) { out = append(out, s.Name+"."+f.Name) })
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// method makes a method known; nil: there is none.
func (c *compiler) method(service, name string) *method {
	key := service + "." + name
	if m := c.methods[key]; m != nil {
		return m
	}
	s := c.main.services[service]
	if s == nil {
		return nil
	}
	var m *method
	c.each(s, func(u *unit, owner *parser.Service, f *parser.Function) {
		if m == nil && f.Name == name {
			m = &method{service: service, name: name, unit: u, owner: owner.Name, parsed: f}
		}
	})
	if m == nil {
		return nil
	}
	c.methods[key] = m
	m.arguments = &flatStruct{name: key, kind: snapshot.ThriftStruct_KIND_ARGUMENTS, def: named{nil, key}}
	c.structs[m.arguments.def] = m.arguments
	c.fields(m.arguments, m.unit, m.place(), m.parsed.Arguments)
	if !m.parsed.Void {
		t, problem := m.unit.resolve(m.parsed.FunctionType, 0)
		if problem != "" {
			c.add(m.unit.name, m.at(), false, "The result of %s cannot be converted: %s.", m.name, problem)
		} else {
			m.result = t
			c.take(t)
		}
	}
	c.throws(m)
	return m
}

func (c *compiler) throws(m *method) {
	ids := map[int32]bool{0: true}
	for _, p := range m.parsed.Throws {
		place := m.place() + " throws." + p.Name
		at := m.unit.at(place)
		id, numbered, ok := m.unit.outline.id(place)
		if !numbered || !ok || id < 1 || ids[int32(id)] {
			c.add(m.unit.name, at, false, "The exception %s has no number of its own, 1 to 32767.", p.Name)
			continue
		}
		ids[int32(id)] = true
		t, problem := m.unit.resolve(p.Type, 0)
		switch {
		case problem != "":
			c.add(m.unit.name, at, false, "%s cannot be converted: %s.", p.Name, problem)
			continue
		case t.kind != snapshot.ThriftType_KIND_STRUCT || t.def.unit.structs[t.def.name].Category != "exception":
			c.add(m.unit.name, at, false, "%s is no exception.", p.Name)
			continue
		}
		c.take(t)
		x := throw{id: int32(id), typ: t, name: t.def.name, status: 500}
		declared := t.def.unit.structs[t.def.name]
		for _, a := range []parser.Annotations{declared.Annotations, p.Annotations} {
			if text, ok := annotation(a, "api.http_code"); ok {
				if x.status, ok = status(text); !ok {
					c.add(m.unit.name, at, false, "%q is no status of a refusal: api.http_code of an exception is 400 to 599.", text)
				}
			}
		}
		for _, f := range c.structs[t.def].fields {
			if _, ok := annotation(f.parsed.Annotations, "api.http_code"); ok {
				if !f.typ.integer() {
					c.add(f.unit.name, f.at, false, "%s has api.http_code and is no integer.", f.parsed.Name)
				}
				x.statusOf = f
			}
		}
		m.throws = append(m.throws, x)
	}
	slices.SortFunc(m.throws, func(a, b throw) int { return cmp.Compare(a.id, b.id) })
}

// status is that of a refusal.
func status(text string) (uint32, bool) {
	n := number(text)
	if len(text) != 3 || n < 400 || n > 599 {
		return 500, false
	}
	return uint32(n), true
}

// finish writes what was collected, and checks its size.
func (c *compiler) finish(out *snapshot.Transcoding, routes []*route) {
	if c.failed() {
		return
	}
	c.finite()
	c.write(out)
	var methods []*method
	for _, m := range c.methods {
		methods = append(methods, m)
	}
	slices.SortFunc(methods, func(a, b *method) int {
		return cmp.Or(strings.Compare(a.service, b.service), strings.Compare(a.name, b.name))
	})
	for i, m := range methods {
		m.index = uint32(i)
		out.Methods = append(out.Methods, c.methodMessage(m))
	}
	for _, r := range routes {
		if m := c.routeMessage(r); m != nil {
			out.Routes = append(out.Routes, m)
		}
	}
	slices.SortFunc(out.Routes, func(a, b *snapshot.TranscodingRoute) int {
		return cmp.Or(strings.Compare(a.GetPath(), b.GetPath()), strings.Compare(a.GetMethod(), b.GetMethod()))
	})
	if len(out.Routes) > maxMethods || len(out.Methods) > maxMethods {
		c.add(c.main.name, position{}, false, "There are %d routes, %d are possible.", len(out.Routes), maxMethods)
	}
	if n := proto.Size(out); n > MaxBytes {
		c.add(c.main.name, position{}, false, "The mapped methods and their types have %d bytes, %d are possible: map fewer methods on one port.", n, MaxBytes)
	}
}

func (c *compiler) methodMessage(m *method) *snapshot.ThriftMethod {
	out := &snapshot.ThriftMethod{
		Service: m.service, Name: m.name, Call: m.name, Arguments: m.arguments.index, Oneway: m.parsed.Oneway, Result: c.message(m.result),
	}
	if c.multiplexed {
		out.Call = m.service + ":" + m.name
	}
	for _, x := range m.throws {
		to := &snapshot.ThriftThrow{Id: x.id, Exception: c.structs[x.typ.def].index, Status: x.status}
		if x.statusOf != nil {
			to.StatusField, to.HasStatusField = x.statusOf.id, true
		}
		out.Throws = append(out.Throws, to)
	}
	return out
}
