// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"cmp"
	"maps"
	"slices"

	"github.com/cloudwego/thriftgo/parser"

	"weir.dev/weir/api/snapshot"
)

// MaxBytes bounds a mapping: it travels to every pod.
const MaxBytes = snapshot.MaxTranscoding

// flattener collects the types that methods need. Indices are given once all are known.
type flattener struct {
	*findings
	main    *unit
	structs map[named]*flatStruct
	enums   map[named]*flatEnum
	// defaults is how large all defaults are.
	defaults int
}

type flatStruct struct {
	name  string
	kind  snapshot.ThriftStruct_Kind
	def   named
	index uint32
	// fields are by id.
	fields []*flatField
}

type flatField struct {
	unit     *unit
	at       position
	parsed   *parser.Field
	id       int32
	name     string
	typ      *typ
	required snapshot.ThriftField_Requiredness
	fallback string
	quoted   bool
	hidden   bool
}

type flatEnum struct {
	name   string
	index  uint32
	values []*snapshot.ThriftEnumValue
}

// jsonName is the member that a field is in JSON.
func jsonName(f *parser.Field) string {
	if name, ok := annotation(f.Annotations, "api.body"); ok && name != "" {
		return name
	}
	return f.Name
}

// qualified is a definition's name, with its file's where that is not the main one.
func (f *flattener) qualified(d named) string {
	if d.unit == f.main {
		return d.name
	}
	for _, prefix := range slices.Sorted(maps.Keys(f.main.includes)) {
		if f.main.includes[prefix] == d.unit {
			return prefix + "." + d.name
		}
	}
	return d.unit.name + ":" + d.name
}

// take makes a type known, and those that it needs.
func (f *flattener) take(t *typ) {
	if t == nil {
		return
	}
	switch t.kind {
	case snapshot.ThriftType_KIND_ENUM:
		f.takeEnum(t.def)
	case snapshot.ThriftType_KIND_STRUCT:
		if f.structs[t.def] == nil {
			s := t.def.unit.structs[t.def.name]
			out := &flatStruct{name: f.qualified(t.def), def: t.def, kind: snapshot.ThriftStruct_KIND_STRUCT}
			switch s.Category {
			case "union":
				out.kind = snapshot.ThriftStruct_KIND_UNION
			case "exception":
				out.kind = snapshot.ThriftStruct_KIND_EXCEPTION
			}
			f.structs[t.def] = out
			f.fields(out, t.def.unit, s.Name, s.Fields)
		}
	}
	f.take(t.key)
	f.take(t.element)
}

func (f *flattener) takeEnum(d named) {
	if f.enums[d] != nil {
		return
	}
	e := &flatEnum{name: f.qualified(d)}
	f.enums[d] = e
	for _, v := range d.unit.enums[d.name].Values {
		if !fits(snapshot.ThriftType_KIND_ENUM, v.Value) {
			f.add(d.unit.name, d.unit.at(d.name+"."+v.Name), false, "The value of %s.%s does not fit into 32 bits.", d.name, v.Name)
			continue
		}
		e.values = append(e.values, &snapshot.ThriftEnumValue{Name: v.Name, Number: int32(v.Value)})
	}
	slices.SortFunc(e.values, func(a, b *snapshot.ThriftEnumValue) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
	})
}

// fields takes in those of a struct, or the arguments of a method. owner is the name of
// either in the outline.
func (f *flattener) fields(out *flatStruct, u *unit, owner string, in []*parser.Field) {
	ids, members := map[int32]string{}, map[string]string{}
	for _, p := range in {
		name := owner + "." + p.Name
		at := u.at(name)
		id, numbered, ok := u.outline.id(name)
		switch {
		case !numbered:
			f.add(u.name, at, false, "%s has no number: give it the one that the application's code has for it.", p.Name)
			continue
		case !ok:
			f.add(u.name, at, false, "The number of %s is not between -32768 and 32767.", p.Name)
			continue
		case ids[int32(id)] != "":
			f.add(u.name, at, false, "%s and %s have the same number %d.", ids[int32(id)], p.Name, id)
			continue
		}
		ids[int32(id)] = p.Name
		t, problem := u.resolve(p.Type, 0)
		if problem != "" {
			f.add(u.name, at, false, "%s cannot be converted: %s.", p.Name, problem)
			continue
		}
		field := &flatField{unit: u, at: at, parsed: p, id: int32(id), name: jsonName(p), typ: t}
		f.describe(field, out)
		if other := members[field.name]; other != "" && !field.hidden {
			f.add(u.name, at, false, "%s and %s are both the member %s in JSON.", other, p.Name, field.name)
			continue
		}
		if !field.hidden {
			members[field.name] = p.Name
		}
		out.fields = append(out.fields, field)
		f.take(t)
	}
	slices.SortFunc(out.fields, func(a, b *flatField) int { return cmp.Compare(a.id, b.id) })
}

// describe reads what else there is about a field.
func (f *flattener) describe(field *flatField, owner *flatStruct) {
	p := field.parsed
	switch p.Requiredness {
	case parser.FieldType_Required:
		field.required = snapshot.ThriftField_REQUIREDNESS_REQUIRED
	case parser.FieldType_Optional:
		field.required = snapshot.ThriftField_REQUIREDNESS_OPTIONAL
	default:
		field.required = snapshot.ThriftField_REQUIREDNESS_DEFAULT
	}
	if owner.kind == snapshot.ThriftStruct_KIND_UNION {
		field.required = snapshot.ThriftField_REQUIREDNESS_OPTIONAL
	}
	if v, ok := annotation(p.Annotations, "api.js_conv"); ok && v != "false" {
		field.quoted = true
	}
	_, field.hidden = annotation(p.Annotations, "api.none")
	if p.Default != nil && f.defaults <= MaxBytes {
		v, err := f.value(field.unit, p.Default, field.typ, 0)
		if err != nil {
			f.add(field.unit.name, field.at, false, "The default of %s cannot be converted: %v.", p.Name, err)
			return
		}
		field.fallback = string(v)
		f.defaults += len(v)
	}
	f.knownAnnotations(field)
}

// knownAnnotations warns of those that would have an effect elsewhere and have none here.
func (f *flattener) knownAnnotations(field *flatField) {
	for _, a := range field.parsed.Annotations {
		switch a.Key {
		case "api.path", "api.query", "api.header", "api.cookie", "api.body", "api.raw_body", "api.http_code", "api.js_conv", "api.none":
			continue
		}
		if len(a.Key) > 4 && a.Key[:4] == "api." {
			f.add(field.unit.name, field.at, true, "The annotation %s of %s has no effect.", a.Key, field.parsed.Name)
		}
	}
}

// finite reports structs that can have no value: that need themselves.
func (f *flattener) finite() {
	state := map[*flatStruct]int{}
	var visit func(s *flatStruct) bool
	visit = func(s *flatStruct) bool {
		switch state[s] {
		case 1:
			return false
		case 2:
			return true
		}
		state[s] = 1
		for _, field := range s.fields {
			if field.required == snapshot.ThriftField_REQUIREDNESS_REQUIRED && field.fallback == "" &&
				field.typ.kind == snapshot.ThriftType_KIND_STRUCT && !visit(f.structs[field.typ.def]) {
				f.add(field.unit.name, field.at, false, "%s needs a value of its own kind within itself, and so can have none: make %s optional.", s.name, field.parsed.Name)
			}
		}
		state[s] = 2
		return true
	}
	for _, s := range f.sortedStructs() {
		visit(s)
	}
}

func (f *flattener) sortedStructs() []*flatStruct {
	var out []*flatStruct
	for _, s := range f.structs {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *flatStruct) int { return cmp.Compare(a.name, b.name) })
	for i, s := range out {
		s.index = uint32(i)
	}
	return out
}

func (f *flattener) sortedEnums() []*flatEnum {
	var out []*flatEnum
	for _, e := range f.enums {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *flatEnum) int { return cmp.Compare(a.name, b.name) })
	for i, e := range out {
		e.index = uint32(i)
	}
	return out
}

// write makes messages of what was collected.
func (f *flattener) write(out *snapshot.Transcoding) {
	structs := f.sortedStructs()
	for _, e := range f.sortedEnums() {
		out.Enums = append(out.Enums, &snapshot.ThriftEnum{Name: e.name, Values: e.values})
	}
	for _, s := range structs {
		to := &snapshot.ThriftStruct{Name: s.name, Kind: s.kind}
		for _, field := range s.fields {
			to.Fields = append(to.Fields, &snapshot.ThriftField{
				Id: field.id, Name: field.name, Type: f.message(field.typ), Requiredness: field.required,
				DefaultJson: field.fallback, Quoted: field.quoted, Hidden: field.hidden,
			})
		}
		out.Structs = append(out.Structs, to)
	}
}

func (f *flattener) message(t *typ) *snapshot.ThriftType {
	if t == nil {
		return nil
	}
	out := &snapshot.ThriftType{Kind: t.kind, Key: f.message(t.key), Element: f.message(t.element)}
	switch t.kind {
	case snapshot.ThriftType_KIND_ENUM:
		out.Index = f.enums[t.def].index
	case snapshot.ThriftType_KIND_STRUCT:
		out.Index = f.structs[t.def].index
	}
	return out
}
