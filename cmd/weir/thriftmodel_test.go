// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/apache/thrift/lib/go/thrift"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
)

// Values of Thrift types as tests have them: bool, int64, float64, string, []byte, []any,
// []modelPair and modelStruct.
type (
	modelPair   struct{ key, value any }
	modelStruct struct{ fields []modelField }
	modelField  struct {
		id    int32
		value any
	}
)

// model knows the types of a mapping.
type model struct{ m *snapshot.Transcoding }

const (
	kBool   = snapshot.ThriftType_KIND_BOOL
	kI8     = snapshot.ThriftType_KIND_I8
	kI16    = snapshot.ThriftType_KIND_I16
	kI32    = snapshot.ThriftType_KIND_I32
	kI64    = snapshot.ThriftType_KIND_I64
	kDouble = snapshot.ThriftType_KIND_DOUBLE
	kString = snapshot.ThriftType_KIND_STRING
	kBinary = snapshot.ThriftType_KIND_BINARY
	kEnum   = snapshot.ThriftType_KIND_ENUM
	kStruct = snapshot.ThriftType_KIND_STRUCT
	kList   = snapshot.ThriftType_KIND_LIST
	kSet    = snapshot.ThriftType_KIND_SET
	kMap    = snapshot.ThriftType_KIND_MAP
)

// draw makes a value.
func (d model) draw(t *rapid.T, typ *snapshot.ThriftType, depth int) any {
	size := 3
	if depth > 5 {
		size = 0
	}
	switch typ.GetKind() {
	case kBool:
		return rapid.Bool().Draw(t, "bool")
	case kI8:
		return int64(rapid.Int8().Draw(t, "i8"))
	case kI16:
		return int64(rapid.Int16().Draw(t, "i16"))
	case kI32:
		return int64(rapid.Int32().Draw(t, "i32"))
	case kI64:
		return rapid.Int64().Draw(t, "i64")
	case kDouble:
		return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, 1e21, 1e-7, -1e-9, math.MaxFloat64, math.NaN(), math.Inf(1), math.Inf(-1)})).Draw(t, "double")
	case kString:
		return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"\"\\/\b\f\n\r\t\x00\x7f", "\u2028", "😀", ""})).Draw(t, "string")
	case kBinary:
		return rapid.SliceOf(rapid.Byte()).Draw(t, "binary")
	case kEnum:
		values := d.m.GetEnums()[typ.GetIndex()].GetValues()
		return int64(rapid.SampledFrom(values).Draw(t, "enum").GetNumber())
	case kStruct:
		return d.drawStruct(t, d.m.GetStructs()[typ.GetIndex()], depth)
	case kMap:
		seen := map[string]bool{}
		out := []modelPair{}
		for range rapid.IntRange(0, size).Draw(t, "size") {
			k := d.draw(t, typ.GetKey(), depth+1)
			if text := fmt.Sprint(k); !seen[text] {
				seen[text] = true
				out = append(out, modelPair{k, d.draw(t, typ.GetElement(), depth+1)})
			}
		}
		return out
	}
	n := rapid.IntRange(0, size).Draw(t, "size")
	if size > 0 && typ.GetElement().GetKind() < kString && rapid.IntRange(0, 9).Draw(t, "long") == 0 {
		n = rapid.SampledFrom([]int{14, 15, 16, 127, 128, 300}).Draw(t, "size")
	}
	out := []any{}
	for range n {
		out = append(out, d.draw(t, typ.GetElement(), depth+1))
	}
	return out
}

func (d model) drawStruct(t *rapid.T, s *snapshot.ThriftStruct, depth int) modelStruct {
	fields := rapid.Permutation(s.GetFields()).Draw(t, "order")
	out := modelStruct{}
	for _, f := range fields {
		must := f.GetRequiredness() == snapshot.ThriftField_REQUIREDNESS_REQUIRED ||
			f.GetRequiredness() == snapshot.ThriftField_REQUIREDNESS_DEFAULT && f.GetDefaultJson() != ""
		union := s.GetKind() == snapshot.ThriftStruct_KIND_UNION
		if union && len(out.fields) == 1 {
			break
		}
		if !must && !union && (depth > 5 || rapid.Bool().Draw(t, "unset")) {
			continue
		}
		out.fields = append(out.fields, modelField{f.GetId(), d.draw(t, f.GetType(), depth+1)})
	}
	return out
}

func (d model) field(s *snapshot.ThriftStruct, id int32) *snapshot.ThriftField {
	for _, f := range s.GetFields() {
		if f.GetId() == id {
			return f
		}
	}
	return nil
}

// json is the value as JSON, by the rules of docs/thrift.md.
func (d model) json(typ *snapshot.ThriftType, v any, quoted bool) string {
	marshal := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	switch typ.GetKind() {
	case kEnum:
		for _, e := range d.m.GetEnums()[typ.GetIndex()].GetValues() {
			if int64(e.GetNumber()) == v.(int64) {
				return marshal(e.GetName())
			}
		}
		return marshal(v)
	case kI8, kI16, kI32, kI64:
		if quoted {
			return marshal(strconv.FormatInt(v.(int64), 10))
		}
	case kDouble:
		switch f := v.(float64); {
		case math.IsNaN(f):
			return `"NaN"`
		case math.IsInf(f, 1):
			return `"Infinity"`
		case math.IsInf(f, -1):
			return `"-Infinity"`
		}
	case kBinary:
		return marshal(base64.StdEncoding.EncodeToString(v.([]byte)))
	case kStruct:
		s := d.m.GetStructs()[typ.GetIndex()]
		out := ""
		for _, f := range v.(modelStruct).fields {
			def := d.field(s, f.id)
			out += "," + marshal(def.GetName()) + ":" + d.json(def.GetType(), f.value, def.GetQuoted())
		}
		return "{" + out[min(1, len(out)):] + "}"
	case kList, kSet:
		out := ""
		for _, e := range v.([]any) {
			out += "," + d.json(typ.GetElement(), e, quoted)
		}
		return "[" + out[min(1, len(out)):] + "]"
	case kMap:
		out := ""
		for _, p := range v.([]modelPair) {
			k, e := d.json(typ.GetKey(), p.key, quoted), d.json(typ.GetElement(), p.value, quoted)
			switch {
			case typ.GetKey().GetKind() > kEnum:
				out += `,{"key":` + k + `,"value":` + e + "}"
			case k[0] == '"':
				out += "," + k + ":" + e
			default:
				out += `,"` + k + `":` + e
			}
		}
		out = out[min(1, len(out)):]
		if typ.GetKey().GetKind() > kEnum {
			return "[" + out + "]"
		}
		return "{" + out + "}"
	}
	return marshal(v)
}

func ttype(typ *snapshot.ThriftType) thrift.TType {
	return map[snapshot.ThriftType_Kind]thrift.TType{
		kBool: thrift.BOOL, kI8: thrift.BYTE, kI16: thrift.I16, kI32: thrift.I32, kI64: thrift.I64, kDouble: thrift.DOUBLE,
		kString: thrift.STRING, kBinary: thrift.STRING, kEnum: thrift.I32, kStruct: thrift.STRUCT, kList: thrift.LIST, kSet: thrift.SET, kMap: thrift.MAP,
	}[typ.GetKind()]
}

// write writes a value with apache/thrift.
func (d model) write(ctx context.Context, p thrift.TProtocol, typ *snapshot.ThriftType, v any) error {
	switch typ.GetKind() {
	case kBool:
		return p.WriteBool(ctx, v.(bool))
	case kI8:
		return p.WriteByte(ctx, int8(v.(int64)))
	case kI16:
		return p.WriteI16(ctx, int16(v.(int64)))
	case kI32, kEnum:
		return p.WriteI32(ctx, int32(v.(int64)))
	case kI64:
		return p.WriteI64(ctx, v.(int64))
	case kDouble:
		return p.WriteDouble(ctx, v.(float64))
	case kString:
		return p.WriteString(ctx, v.(string))
	case kBinary:
		return p.WriteBinary(ctx, v.([]byte))
	case kStruct:
		return d.writeStruct(ctx, p, d.m.GetStructs()[typ.GetIndex()], v.(modelStruct))
	case kMap:
		pairs := v.([]modelPair)
		if err := p.WriteMapBegin(ctx, ttype(typ.GetKey()), ttype(typ.GetElement()), len(pairs)); err != nil {
			return err
		}
		for _, e := range pairs {
			if err := d.write(ctx, p, typ.GetKey(), e.key); err != nil {
				return err
			}
			if err := d.write(ctx, p, typ.GetElement(), e.value); err != nil {
				return err
			}
		}
		return p.WriteMapEnd(ctx)
	}
	list := v.([]any)
	begin := p.WriteListBegin
	if typ.GetKind() == kSet {
		begin = p.WriteSetBegin
	}
	if err := begin(ctx, ttype(typ.GetElement()), len(list)); err != nil {
		return err
	}
	for _, e := range list {
		if err := d.write(ctx, p, typ.GetElement(), e); err != nil {
			return err
		}
	}
	return p.WriteListEnd(ctx)
}

func (d model) writeStruct(ctx context.Context, p thrift.TProtocol, s *snapshot.ThriftStruct, v modelStruct) error {
	if err := p.WriteStructBegin(ctx, s.GetName()); err != nil {
		return err
	}
	for _, f := range v.fields {
		def := d.field(s, f.id)
		if err := p.WriteFieldBegin(ctx, def.GetName(), ttype(def.GetType()), int16(f.id)); err != nil {
			return err
		}
		if err := d.write(ctx, p, def.GetType(), f.value); err != nil {
			return err
		}
		if err := p.WriteFieldEnd(ctx); err != nil {
			return err
		}
	}
	if err := p.WriteFieldStop(ctx); err != nil {
		return err
	}
	return p.WriteStructEnd(ctx)
}

// read reads a value with apache/thrift.
func (d model) read(ctx context.Context, p thrift.TProtocol, typ *snapshot.ThriftType) (any, error) {
	switch typ.GetKind() {
	case kBool:
		return p.ReadBool(ctx)
	case kI8:
		v, err := p.ReadByte(ctx)
		return int64(v), err
	case kI16:
		v, err := p.ReadI16(ctx)
		return int64(v), err
	case kI32, kEnum:
		v, err := p.ReadI32(ctx)
		return int64(v), err
	case kI64:
		return p.ReadI64(ctx)
	case kDouble:
		return p.ReadDouble(ctx)
	case kString:
		return p.ReadString(ctx)
	case kBinary:
		b, err := p.ReadBinary(ctx)
		return append([]byte{}, b...), err
	case kStruct:
		return d.readStruct(ctx, p, d.m.GetStructs()[typ.GetIndex()])
	case kMap:
		k, v, n, err := p.ReadMapBegin(ctx)
		if err != nil || n > 0 && (k != ttype(typ.GetKey()) || v != ttype(typ.GetElement())) {
			return nil, fmt.Errorf("map of %d %v %v: %w", n, k, v, err)
		}
		out := []modelPair{}
		for range n {
			key, err := d.read(ctx, p, typ.GetKey())
			if err != nil {
				return nil, err
			}
			value, err := d.read(ctx, p, typ.GetElement())
			if err != nil {
				return nil, err
			}
			out = append(out, modelPair{key, value})
		}
		return out, p.ReadMapEnd(ctx)
	}
	e, n, err := p.ReadListBegin(ctx)
	if err != nil || e != ttype(typ.GetElement()) {
		return nil, fmt.Errorf("list of %d %v: %w", n, e, err)
	}
	out := []any{}
	for range n {
		v, err := d.read(ctx, p, typ.GetElement())
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, p.ReadListEnd(ctx)
}

func (d model) readStruct(ctx context.Context, p thrift.TProtocol, s *snapshot.ThriftStruct) (modelStruct, error) {
	out := modelStruct{}
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return out, err
	}
	for {
		_, t, id, err := p.ReadFieldBegin(ctx)
		if err != nil {
			return out, err
		}
		if t == thrift.STOP {
			return out, p.ReadStructEnd(ctx)
		}
		def := d.field(s, int32(id))
		if def == nil || ttype(def.GetType()) != t {
			return out, fmt.Errorf("%s has field %d of type %v", s.GetName(), id, t)
		}
		v, err := d.read(ctx, p, def.GetType())
		if err != nil {
			return out, err
		}
		out.fields = append(out.fields, modelField{int32(id), v})
		if err := p.ReadFieldEnd(ctx); err != nil {
			return out, err
		}
	}
}

// decoded is JSON as a comparable value, numbers as written.
func decoded(t interface{ Fatalf(string, ...any) }, b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}
