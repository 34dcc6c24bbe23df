// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
)

// Route is a way from an HTTP method and a path to a Thrift method.
type Route struct {
	// Method is the one that is called.
	Method *Method
	// Template is the path as the IDL or the routes have it.
	Template string

	params []string
	// request is what the request's fields are those of; unwrap: the only argument.
	request *structure
	unwrap  bool
	inputs  []input
	// names are members of the body, mapped those of which another place goes first.
	names, mapped map[string]*field
	elsewhere     bits
	body          bool
	outputs       []output
	// hidden are the fields of the result that are no members of the body.
	hidden bits
}

type input struct {
	field  *field
	places []place
}

type output struct {
	field *field
	place place
}

type place struct {
	kind snapshot.TranscodingPlace_Kind
	name string
	// param is the number of a path's parameter.
	param int
}

// node is a path's segment. Literal segments go before parameters, and these before
// the rest.
type node struct {
	literal map[string]*node
	param   *node
	// routes end here, by HTTP method; rest matches what follows, too.
	routes, rest map[string]*Route
}

// Match is what a router found.
type Match struct {
	Route *Route
	// Params are the decoded values of the path's parameters, in order.
	Params []string
	// Allow are the methods of the path where the request's is none of them.
	Allow []string
}

// Find returns the route of a request. path is normalised (exchange.NormalizePath), so
// that policies have seen the same one. HEAD is GET.
func (t *Table) Find(method, path []byte) Match {
	var m Match
	found := t.root.find(strings.TrimPrefix(string(path), "/"), nil, &m)
	if found == nil {
		return Match{}
	}
	if m.Route = found[string(method)]; m.Route == nil && string(method) == "HEAD" {
		m.Route = found["GET"]
	}
	if m.Route == nil {
		for name := range found {
			m.Allow = append(m.Allow, name)
		}
		slices.Sort(m.Allow)
	}
	return m
}

func (n *node) find(path string, params []string, m *Match) map[string]*Route {
	if path == "" {
		if len(n.routes) > 0 {
			m.Params = params
			return n.routes
		}
	} else {
		segment, rest, _ := strings.Cut(path, "/")
		value, err := url.PathUnescape(segment)
		if err != nil {
			return nil
		}
		if next := n.literal[value]; next != nil {
			if found := next.find(rest, params, m); found != nil {
				return found
			}
		}
		if n.param != nil {
			if found := n.param.find(rest, append(params[:len(params):len(params)], value), m); found != nil {
				return found
			}
		}
	}
	if len(n.rest) > 0 {
		value, err := url.PathUnescape(path)
		if err != nil {
			return nil
		}
		m.Params = append(params[:len(params):len(params)], value)
		return n.rest
	}
	return nil
}

// add takes a route in.
func (t *Table) add(in *snapshot.TranscodingRoute) error {
	if int(in.GetCall()) >= len(t.methods) {
		return fmt.Errorf("there is no method %d", in.GetCall())
	}
	r := &Route{Method: t.methods[in.GetCall()], Template: in.GetPath(), unwrap: in.GetUnwrap(), body: in.GetBody()}
	r.request = r.Method.arguments
	if r.unwrap {
		if len(r.request.fields) != 1 || r.request.fields[0].typ.kind != kindStruct {
			return errors.New("its method has not one argument that is a struct")
		}
		r.request = r.request.fields[0].typ.structure
	}
	end, err := t.place(r, in.GetPath())
	if err != nil {
		return err
	}
	if end[in.GetMethod()] != nil {
		return fmt.Errorf("%s has the same paths", end[in.GetMethod()].Template)
	}
	end[in.GetMethod()] = r
	if err := r.takeInputs(in.GetInputs()); err != nil {
		return err
	}
	return r.takeOutputs(in.GetOutputs())
}

// place finds or makes the end of a template.
func (t *Table) place(r *Route, template string) (map[string]*Route, error) {
	if !strings.HasPrefix(template, "/") {
		return nil, errors.New("a path begins with a slash")
	}
	n := t.root
	segments := strings.Split(template[1:], "/")
	if template == "/" {
		segments = nil
	}
	for i, s := range segments {
		name, isParam := strings.CutPrefix(s, "{")
		name, closed := strings.CutSuffix(name, "}")
		switch {
		case s == "":
			return nil, errors.New("a segment is empty")
		case !isParam:
			if n.literal == nil {
				n.literal = map[string]*node{}
			}
			if n.literal[s] == nil {
				n.literal[s] = &node{}
			}
			n = n.literal[s]
			continue
		case !closed || name == "":
			return nil, fmt.Errorf("%q is no parameter", s)
		}
		name, rest := strings.CutSuffix(name, "...")
		r.params = append(r.params, name)
		if rest {
			if i != len(segments)-1 {
				return nil, errors.New("the rest of a path is not at its end")
			}
			if n.rest == nil {
				n.rest = map[string]*Route{}
			}
			return n.rest, nil
		}
		if n.param == nil {
			n.param = &node{}
		}
		n = n.param
	}
	if n.routes == nil {
		n.routes = map[string]*Route{}
	}
	return n.routes, nil
}

func (r *Route) takeInputs(in []*snapshot.TranscodingInput) error {
	for _, i := range in {
		f := r.request.byID(int16(i.GetField()))
		if f == nil || len(i.GetPlaces()) == 0 {
			return fmt.Errorf("field %d of the request is not there, or has no place", i.GetField())
		}
		to := input{field: f}
		r.elsewhere.set(f.index)
		for _, p := range i.GetPlaces() {
			if p.GetKind() == snapshot.TranscodingPlace_KIND_BODY {
				if r.mapped == nil {
					r.mapped = map[string]*field{}
				}
				r.mapped[p.GetName()] = f
				continue
			}
			at := place{kind: p.GetKind(), name: p.GetName()}
			if p.GetKind() == snapshot.TranscodingPlace_KIND_PATH {
				if at.param = slices.Index(r.params, p.GetName()); at.param < 0 {
					return fmt.Errorf("the path has no parameter %s", p.GetName())
				}
			}
			if err := f.fits(at); err != nil {
				return err
			}
			to.places = append(to.places, at)
		}
		r.inputs = append(r.inputs, to)
	}
	r.names = map[string]*field{}
	if r.body {
		for _, f := range r.request.fields {
			if !f.hidden && !r.elsewhere.has(f.index) {
				r.names[f.name] = f
			}
		}
	}
	return nil
}

// fits checks that a field can come from a place.
func (f *field) fits(p place) error {
	ok := true
	switch p.kind {
	case snapshot.TranscodingPlace_KIND_PATH, snapshot.TranscodingPlace_KIND_COOKIE:
		ok = f.typ.scalar()
	case snapshot.TranscodingPlace_KIND_QUERY, snapshot.TranscodingPlace_KIND_HEADER:
		ok = f.typ.scalar() || (f.typ.kind == kindList || f.typ.kind == kindSet) && f.typ.element.scalar()
	case snapshot.TranscodingPlace_KIND_RAW_BODY:
		ok = f.typ.wire == wireString
	case snapshot.TranscodingPlace_KIND_WHOLE_BODY, snapshot.TranscodingPlace_KIND_NONE:
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("field %s cannot come from a place of kind %d", f.name, p.kind)
	}
	return nil
}

func (r *Route) takeOutputs(in []*snapshot.TranscodingOutput) error {
	t := r.Method.result
	if len(in) > 0 && (t == nil || t.kind != kindStruct) {
		return errors.New("the result is no struct, and has outputs")
	}
	for _, o := range in {
		f := t.structure.byID(int16(o.GetField()))
		if f == nil {
			return fmt.Errorf("field %d of the result is not there", o.GetField())
		}
		p := place{kind: o.GetPlace().GetKind(), name: o.GetPlace().GetName()}
		ok := false
		switch p.kind {
		case snapshot.TranscodingPlace_KIND_HEADER, snapshot.TranscodingPlace_KIND_COOKIE:
			ok = f.typ.scalar() && p.name != ""
		case snapshot.TranscodingPlace_KIND_STATUS:
			ok = f.typ.kind >= kindI8 && f.typ.kind <= kindI64 || f.typ.kind == kindEnum
		case snapshot.TranscodingPlace_KIND_RAW_BODY:
			ok = f.typ.wire == wireString
		case snapshot.TranscodingPlace_KIND_NONE:
			ok = true
		}
		if !ok {
			return fmt.Errorf("field %s of the result cannot go to a place of kind %d", f.name, p.kind)
		}
		r.hidden.set(f.index)
		r.outputs = append(r.outputs, output{field: f, place: p})
	}
	return nil
}
