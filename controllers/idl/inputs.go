// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
)

// Short names for what is used all over.
const (
	inPath   = snapshot.TranscodingPlace_KIND_PATH
	inQuery  = snapshot.TranscodingPlace_KIND_QUERY
	inHeader = snapshot.TranscodingPlace_KIND_HEADER
	inCookie = snapshot.TranscodingPlace_KIND_COOKIE
	inBody   = snapshot.TranscodingPlace_KIND_BODY
	inRaw    = snapshot.TranscodingPlace_KIND_RAW_BODY
	inWhole  = snapshot.TranscodingPlace_KIND_WHOLE_BODY
	inStatus = snapshot.TranscodingPlace_KIND_STATUS
	nowhere  = snapshot.TranscodingPlace_KIND_NONE
)

// routeMessage decides where each field of the request comes from.
func (c *compiler) routeMessage(r *route) *snapshot.TranscodingRoute {
	request, unwrap := c.request(r.call)
	out := &snapshot.TranscodingRoute{Method: r.method, Path: r.path, Call: r.call.index, Unwrap: unwrap}
	used := map[string]bool{}
	whole, members := false, r.method != "GET" && r.method != "DELETE"
	places := make([][]*snapshot.TranscodingPlace, len(request.fields))
	for i, f := range request.fields {
		places[i] = c.places(r, f)
		for _, p := range places[i] {
			whole = whole || p.Kind == inWhole || p.Kind == inRaw
			members = members || p.Kind == inBody && r.method == "DELETE"
		}
	}
	members = members && !whole
	taken := map[string]string{}
	for i, f := range request.fields {
		if len(places[i]) == 0 {
			places[i] = c.implied(r, f, members, whole)
		}
		for _, p := range places[i] {
			if p.Kind == inBody {
				if other := taken[p.Name]; other != "" {
					c.add(r.file, r.at, false, "%s and %s of %s %s both come from the member %s of the body.", other, f.parsed.Name, r.method, r.path, p.Name)
				}
				taken[p.Name] = f.parsed.Name
			}
		}
		if c.check(r, f, places[i], members); len(places[i]) == 1 && places[i][0].Kind == inBody && places[i][0].Name == f.name {
			continue
		}
		for _, p := range places[i] {
			if p.Kind == inPath {
				used[p.Name] = true
			}
		}
		out.Inputs = append(out.Inputs, &snapshot.TranscodingInput{Field: f.id, Places: places[i]})
	}
	out.Body = members
	for _, name := range r.params {
		if !used[name] {
			c.add(r.file, r.at, false, "The parameter %s of %s goes to no field of %s.", name, r.path, request.name)
		}
	}
	for name := range r.places {
		if !slices.ContainsFunc(request.fields, func(f *flatField) bool { return f.parsed.Name == name }) {
			c.add(r.file, r.at, false, "map names the field %s, which %s does not have.", name, request.name)
		}
	}
	out.Outputs = c.outputs(r.call)
	return out
}

// request is whose fields a request has: those of the struct that is the only argument,
// else the arguments.
func (c *compiler) request(m *method) (s *flatStruct, unwrap bool) {
	if len(m.arguments.fields) == 1 {
		if t := m.arguments.fields[0].typ; t.kind == snapshot.ThriftType_KIND_STRUCT {
			return c.structs[t.def], true
		}
	}
	return m.arguments, false
}

// places are those that the route or annotations name for a field, in order.
func (c *compiler) places(r *route, f *flatField) []*snapshot.TranscodingPlace {
	if p := r.places[f.parsed.Name]; p != nil {
		return p
	}
	if f.hidden {
		return []*snapshot.TranscodingPlace{{Kind: nowhere}}
	}
	var out []*snapshot.TranscodingPlace
	for _, a := range f.parsed.Annotations {
		name := ""
		if len(a.Values) > 0 {
			name = a.Values[0]
		}
		if name == "" {
			name = f.parsed.Name
		}
		switch a.Key {
		case "api.path":
			// One struct can be the request of several routes.
			if slices.Contains(r.params, name) {
				out = append(out, &snapshot.TranscodingPlace{Kind: inPath, Name: name})
			}
		case "api.query":
			out = append(out, &snapshot.TranscodingPlace{Kind: inQuery, Name: name})
		case "api.header":
			out = append(out, &snapshot.TranscodingPlace{Kind: inHeader, Name: strings.ToLower(name)})
		case "api.cookie":
			out = append(out, &snapshot.TranscodingPlace{Kind: inCookie, Name: name})
		case "api.body":
			out = append(out, &snapshot.TranscodingPlace{Kind: inBody, Name: name})
		case "api.raw_body":
			out = append(out, &snapshot.TranscodingPlace{Kind: inRaw})
		}
	}
	return out
}

// implied is where a field comes from that nothing is said about.
func (c *compiler) implied(r *route, f *flatField, members, whole bool) []*snapshot.TranscodingPlace {
	switch {
	case slices.Contains(r.params, f.parsed.Name) && f.typ.scalar():
		return []*snapshot.TranscodingPlace{{Kind: inPath, Name: f.parsed.Name}}
	case members:
		return []*snapshot.TranscodingPlace{{Kind: inBody, Name: f.name}}
	case !whole && (f.typ.scalar() || f.typ.listed()):
		return []*snapshot.TranscodingPlace{{Kind: inQuery, Name: f.name}}
	}
	return []*snapshot.TranscodingPlace{{Kind: nowhere}}
}

// check reports what cannot be.
func (c *compiler) check(r *route, f *flatField, places []*snapshot.TranscodingPlace, members bool) {
	what := f.parsed.Name
	required := f.required == snapshot.ThriftField_REQUIREDNESS_REQUIRED && f.fallback == ""
	reached := false
	for _, p := range places {
		reached = reached || p.Kind != nowhere
		ok, need := true, ""
		switch p.Kind {
		case inPath:
			ok, need = f.typ.scalar(), "a scalar"
			if !slices.Contains(r.params, p.Name) {
				c.add(r.file, r.at, false, "%s comes from the parameter %s, which %s does not have.", what, p.Name, r.path)
			}
		case inCookie:
			ok, need = f.typ.scalar() && token68(p.Name), "a scalar, by a name that a cookie can have"
		case inQuery:
			ok, need = f.typ.scalar() || f.typ.listed(), "a scalar, or a list or set of scalars"
		case inHeader:
			ok, need = (f.typ.scalar() || f.typ.listed()) && token68(p.Name), "a scalar, or a list or set of scalars, by a name that a header can have"
		case inRaw:
			ok, need = f.typ.text() && r.method != "GET", "a string or binary, of a request with a body"
		case inWhole:
			ok, need = r.method != "GET", "of a request with a body"
		case inBody:
			ok, need = members, "of a request whose body has members, which GET has not"
		}
		if !ok {
			c.add(r.file, r.at, false, "%s of %s %s cannot come from where it is said to: it has to be %s.", what, r.method, r.path, need)
		}
	}
	switch {
	case !reached && required:
		c.add(f.unit.name, f.at, false, "%s is required, and nothing of %s %s gives it: map it, or give it a default.", what, r.method, r.path)
	case !reached && !f.hidden && r.places[f.parsed.Name] == nil:
		c.add(f.unit.name, f.at, true, "%s stays unset: nothing of %s %s can give it.", what, r.method, r.path)
	}
}

// token68 is a name of a header or a cookie.
func token68(name string) bool {
	for i := range len(name) {
		c := name[i]
		if letter := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'; !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return name != "" && len(name) <= 256
}

// outputs are fields of the result that are not in the body.
func (c *compiler) outputs(m *method) []*snapshot.TranscodingOutput {
	if m.result == nil || m.result.kind != snapshot.ThriftType_KIND_STRUCT {
		return nil
	}
	var out []*snapshot.TranscodingOutput
	for _, f := range c.structs[m.result.def].fields {
		for _, a := range f.parsed.Annotations {
			p := &snapshot.TranscodingPlace{}
			if len(a.Values) > 0 {
				p.Name = a.Values[0]
			}
			if p.Name == "" {
				p.Name = f.parsed.Name
			}
			var ok bool
			switch a.Key {
			case "api.header":
				p.Kind, ok = inHeader, f.typ.scalar() && token68(p.Name)
				if ok && framing(p.Name) {
					c.add(f.unit.name, f.at, false, "The header %s is not the application's to set.", p.Name)
				}
			case "api.cookie":
				p.Kind, ok = inCookie, f.typ.scalar() && token68(p.Name)
			case "api.http_code":
				p.Kind, p.Name, ok = inStatus, "", f.typ.integer() || f.typ.kind == snapshot.ThriftType_KIND_ENUM
			case "api.raw_body":
				p.Kind, p.Name, ok = inRaw, "", f.typ.text()
			default:
				continue
			}
			if !ok {
				c.add(f.unit.name, f.at, false, "%s of the result cannot be what %s says: its type does not fit.", f.parsed.Name, a.Key)
			}
			out = append(out, &snapshot.TranscodingOutput{Field: f.id, Place: p})
			break
		}
	}
	return out
}

// framing are fields that Weir writes.
func framing(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains([]string{
		"connection", "content-length", "date", "keep-alive", "proxy-authenticate", "proxy-connection", "set-cookie", "te", "trailer",
		"transfer-encoding", "upgrade", "idempotency-status", "idempotent-replayed", "ratelimit", "ratelimit-policy", "retry-after",
	}, name) || strings.HasPrefix(name, "weir-")
}
