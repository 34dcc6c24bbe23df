// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cloudwego/thriftgo/parser"

	"weir.dev/weir/api/snapshot"
)

// value is a constant as JSON, of a type. The error is a part of a sentence.
func (f *flattener) value(u *unit, c *parser.ConstValue, t *typ, depth int) ([]byte, error) {
	if depth > maxNesting {
		return nil, errors.New("it nests too deep, or is a circle of constants")
	}
	if c.Type == parser.ConstType_ConstIdentifier {
		return f.identifier(u, c.TypedValue.GetIdentifier(), t, depth)
	}
	switch k := t.kind; {
	case k == snapshot.ThriftType_KIND_BOOL && c.Type == parser.ConstType_ConstInt:
		return strconv.AppendBool(nil, c.TypedValue.GetInt() != 0), nil
	case (t.integer() || k == snapshot.ThriftType_KIND_ENUM) && c.Type == parser.ConstType_ConstInt:
		v := c.TypedValue.GetInt()
		if !fits(k, v) {
			return nil, fmt.Errorf("%d does not fit", v)
		}
		return strconv.AppendInt(nil, v, 10), nil
	case k == snapshot.ThriftType_KIND_DOUBLE && c.Type == parser.ConstType_ConstInt:
		return strconv.AppendInt(nil, c.TypedValue.GetInt(), 10), nil
	case k == snapshot.ThriftType_KIND_DOUBLE && c.Type == parser.ConstType_ConstDouble:
		return json.Marshal(c.TypedValue.GetDouble())
	case t.text() && c.Type == parser.ConstType_ConstLiteral:
		text := unquote(c.TypedValue.GetLiteral())
		if k == snapshot.ThriftType_KIND_BINARY {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		return json.Marshal(text)
	case (k == snapshot.ThriftType_KIND_LIST || k == snapshot.ThriftType_KIND_SET) && c.Type == parser.ConstType_ConstList:
		return f.array(u, c, t, depth)
	case k == snapshot.ThriftType_KIND_MAP && c.Type == parser.ConstType_ConstMap:
		return f.mapping(u, c, t, depth)
	case k == snapshot.ThriftType_KIND_STRUCT && c.Type == parser.ConstType_ConstMap:
		return f.object(u, c, t, depth)
	}
	return nil, errors.New("it is no value of the field's type")
}

func fits(k snapshot.ThriftType_Kind, v int64) bool {
	switch k {
	case snapshot.ThriftType_KIND_I8:
		return v >= math.MinInt8 && v <= math.MaxInt8
	case snapshot.ThriftType_KIND_I16:
		return v >= math.MinInt16 && v <= math.MaxInt16
	case snapshot.ThriftType_KIND_I32, snapshot.ThriftType_KIND_ENUM:
		return v >= math.MinInt32 && v <= math.MaxInt32
	}
	return true
}

// unquote resolves the escapes that thriftgo leaves.
func unquote(text string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\'`, "'").Replace(text)
}

// identifier is true, false, a constant, or a value of an enum.
func (f *flattener) identifier(u *unit, name string, t *typ, depth int) ([]byte, error) {
	if t.kind == snapshot.ThriftType_KIND_BOOL && (name == "true" || name == "false") {
		return []byte(name), nil
	}
	if owner, member, ok := cutLast(name); ok {
		if d, ok := u.lookup(owner); ok && d.unit.enums[d.name] != nil {
			for _, v := range d.unit.enums[d.name].Values {
				if v.Name == member && (t.integer() || t.kind == snapshot.ThriftType_KIND_ENUM) {
					return strconv.AppendInt(nil, v.Value, 10), nil
				}
			}
			return nil, fmt.Errorf("%s is no value of an enum", name)
		}
	}
	d, ok := u.lookup(name)
	if !ok || d.unit.consts[d.name] == nil {
		return nil, fmt.Errorf("%s is unknown", name)
	}
	return f.value(d.unit, d.unit.consts[d.name].Value, t, depth+1)
}

func (f *flattener) array(u *unit, c *parser.ConstValue, t *typ, depth int) ([]byte, error) {
	out := []byte("[")
	for i, e := range c.TypedValue.GetList() {
		v, err := f.value(u, e, t.element, depth+1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, v...)
		if err := f.grown(len(out)); err != nil {
			return nil, err
		}
	}
	return append(out, ']'), nil
}

// grown bounds a default: constants of constants can grow by powers.
func (f *flattener) grown(n int) error {
	if n > MaxBytes {
		return errors.New("it is too large")
	}
	return nil
}

func (f *flattener) mapping(u *unit, c *parser.ConstValue, t *typ, depth int) ([]byte, error) {
	open, end := "{", "}"
	if !t.key.scalar() {
		open, end = "[", "]"
	}
	out := []byte(open)
	for i, e := range c.TypedValue.GetMap() {
		key, err := f.value(u, e.Key, t.key, depth+1)
		if err != nil {
			return nil, err
		}
		v, err := f.value(u, e.Value, t.element, depth+1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		switch {
		case !t.key.scalar():
			out = fmt.Appendf(out, `{"key":%s,"value":%s}`, key, v)
		case key[0] == '"':
			out = fmt.Appendf(out, `%s:%s`, key, v)
		default:
			out = fmt.Appendf(out, `"%s":%s`, key, v)
		}
		if err := f.grown(len(out)); err != nil {
			return nil, err
		}
	}
	return append(out, end...), nil
}

func (f *flattener) object(u *unit, c *parser.ConstValue, t *typ, depth int) ([]byte, error) {
	s := t.def.unit.structs[t.def.name]
	out := []byte("{")
	for i, e := range c.TypedValue.GetMap() {
		var field *parser.Field
		for _, have := range s.Fields {
			if e.Key.Type == parser.ConstType_ConstLiteral && have.Name == e.Key.TypedValue.GetLiteral() {
				field = have
			}
		}
		if field == nil {
			return nil, fmt.Errorf("%s has no such field", t.def.name)
		}
		of, problem := t.def.unit.resolve(field.Type, 0)
		if problem != "" {
			return nil, errors.New(problem)
		}
		v, err := f.value(u, e.Value, of, depth+1)
		if err != nil {
			return nil, err
		}
		name, err := json.Marshal(jsonName(field))
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, `%s:%s`, name, v)
		if err := f.grown(len(out)); err != nil {
			return nil, err
		}
	}
	return append(out, '}'), nil
}
