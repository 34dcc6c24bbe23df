// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"regexp"
	"slices"
	"strings"

	"github.com/cloudwego/thriftgo/parser"
	"go.yaml.in/yaml/v3"

	"weir.dev/weir/api/snapshot"
)

// route is a way to a method, and where it is written.
type route struct {
	file   string
	at     position
	method string
	path   string
	params []string
	call   *method
	// places are by the field's name, of the routes' map.
	places map[string][]*snapshot.TranscodingPlace
}

// annotated are the routes of api annotations.
func (c *compiler) annotated() []*route {
	var out []*route
	for _, s := range c.main.ast.Services {
		c.each(s, func(u *unit, owner *parser.Service, f *parser.Function) {
			for _, a := range f.Annotations {
				verb, isAPI := strings.CutPrefix(a.Key, "api.")
				if !isAPI {
					continue
				}
				at := u.at(owner.Name + "." + f.Name)
				switch verb {
				case "get", "post", "put", "delete", "patch":
				case "any", "head", "options":
					c.add(u.name, at, false, "The annotation %s of %s is not supported: use api.get, api.post, api.put, api.delete or api.patch.", a.Key, f.Name)
					continue
				default:
					c.add(u.name, at, true, "The annotation %s of %s has no effect.", a.Key, f.Name)
					continue
				}
				for _, path := range a.Values {
					r := &route{file: u.name, at: at, method: strings.ToUpper(verb), path: path, call: c.method(s.Name, f.Name)}
					if c.template(r) {
						out = append(out, r)
					}
				}
			}
		})
	}
	return out
}

// document is what routes look like; a list of routes alone is one, too.
type document struct {
	Upstream struct {
		Transport   string `yaml:"transport"`
		Protocol    string `yaml:"protocol"`
		Multiplexed bool   `yaml:"multiplexed"`
	} `yaml:"upstream"`
	Routes []yaml.Node `yaml:"routes"`
}

type entry struct {
	Method string               `yaml:"method"`
	Path   string               `yaml:"path"`
	Call   string               `yaml:"call"`
	Map    map[string]yaml.Node `yaml:"map"`
	Errors map[string]int       `yaml:"errors"`
}

// written are the routes of a text.
func (c *compiler) written(file string) []*route {
	text, ok := c.files[file]
	if !ok {
		c.add("", position{}, false, "There is no file %s with routes; there are %s.", file, names(c.files))
		return nil
	}
	d, err := readDocument(text)
	if err != nil {
		at, what := yamlError(err)
		c.add(file, at, false, "These are no routes: %s.", what)
		return nil
	}
	c.upstream(file, d)
	if len(d.Routes) > maxMethods {
		c.add(file, position{}, false, "There are %d routes, %d are possible.", len(d.Routes), maxMethods)
		return nil
	}
	var out []*route
	for _, n := range d.Routes {
		if r := c.entry(file, &n); r != nil {
			out = append(out, r)
		}
	}
	return out
}

func readDocument(text string) (document, error) {
	var d document
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		return d, err
	}
	if len(root.Content) > 0 && root.Content[0].Kind == yaml.SequenceNode {
		return d, root.Content[0].Decode(&d.Routes)
	}
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	return d, dec.Decode(&d)
}

// yamlError takes the line out of what the YAML decoder says, and Go's names.
func yamlError(err error) (position, string) {
	text := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n")
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	var at position
	if m := regexp.MustCompile(`^line (\d+): (.*)`).FindStringSubmatch(text); m != nil {
		at, text = position{number(m[1]), 1}, m[2]
	}
	text = regexp.MustCompile(` (in type|into) [\w\[\].]+$`).ReplaceAllString(text, "")
	return at, text
}

func (c *compiler) upstream(file string, d document) {
	switch d.Upstream.Transport {
	case "", "framed":
	case "buffered":
		c.transport = snapshot.ThriftTransport_THRIFT_TRANSPORT_BUFFERED
	case "header":
		c.transport = snapshot.ThriftTransport_THRIFT_TRANSPORT_HEADER
	default:
		c.add(file, position{}, false, "upstream.transport is %q, which is not framed, buffered or header.", d.Upstream.Transport)
	}
	switch d.Upstream.Protocol {
	case "", "binary":
	case "compact":
		c.protocol = snapshot.ThriftProtocol_THRIFT_PROTOCOL_COMPACT
	default:
		c.add(file, position{}, false, "upstream.protocol is %q, which is not binary or compact.", d.Upstream.Protocol)
	}
	c.multiplexed = d.Upstream.Multiplexed
}

func (c *compiler) entry(file string, n *yaml.Node) *route {
	at := position{n.Line, n.Column}
	if n.Kind != yaml.MappingNode {
		c.add(file, at, false, "A route is an object of method, path and call.")
		return nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if k := n.Content[i]; !slices.Contains([]string{"method", "path", "call", "map", "errors"}, k.Value) {
			c.add(file, position{k.Line, k.Column}, false, "A route has no field %s: it has method, path, call, map and errors.", k.Value)
			return nil
		}
	}
	var e entry
	if err := n.Decode(&e); err != nil {
		_, what := yamlError(err)
		c.add(file, at, false, "This is no route: %s.", what)
		return nil
	}
	r := &route{file: file, at: at, method: strings.ToUpper(e.Method), path: e.Path, places: map[string][]*snapshot.TranscodingPlace{}}
	if !slices.Contains([]string{"GET", "POST", "PUT", "DELETE", "PATCH"}, r.method) {
		c.add(file, at, false, "The method %q is not GET, POST, PUT, DELETE or PATCH.", e.Method)
		return nil
	}
	service, name, _ := cutLast(e.Call)
	if r.call = c.method(service, name); r.call == nil {
		c.add(file, at, false, "There is no method %s; there are %s.", e.Call, strings.Join(c.methodNames(), ", "))
		return nil
	}
	for field, v := range e.Map {
		c.mapEntry(r, field, &v)
	}
	for name, code := range e.Errors {
		c.errorEntry(r, name, code)
	}
	if !c.template(r) {
		return nil
	}
	return r
}

// mapEntry reads `field: place` or `field: [place, place]`.
func (c *compiler) mapEntry(r *route, field string, n *yaml.Node) {
	at := position{n.Line, n.Column}
	texts := []string{n.Value}
	if n.Kind == yaml.SequenceNode {
		texts = nil
		for _, e := range n.Content {
			texts = append(texts, e.Value)
		}
	}
	if len(texts) == 0 || len(texts) > 4 {
		c.add(r.file, at, false, "%s has %d places, between 1 and 4 are possible.", field, len(texts))
		return
	}
	for _, text := range texts {
		p := parsePlace(text)
		if p == nil {
			c.add(r.file, at, false, "%q is no place of a request: write path:name, query:name, header:name, cookie:name, body:name, body, raw_body or none.", text)
			return
		}
		r.places[field] = append(r.places[field], p)
	}
}

func parsePlace(text string) *snapshot.TranscodingPlace {
	kind, name, named := strings.Cut(text, ":")
	name = strings.TrimSpace(name)
	p := &snapshot.TranscodingPlace{Name: name}
	switch kind {
	case "path":
		p.Kind = snapshot.TranscodingPlace_KIND_PATH
	case "query":
		p.Kind = snapshot.TranscodingPlace_KIND_QUERY
	case "header":
		p.Kind, p.Name = snapshot.TranscodingPlace_KIND_HEADER, strings.ToLower(name)
	case "cookie":
		p.Kind = snapshot.TranscodingPlace_KIND_COOKIE
	case "body":
		p.Kind = snapshot.TranscodingPlace_KIND_BODY
		if !named {
			p.Kind = snapshot.TranscodingPlace_KIND_WHOLE_BODY
		}
	case "raw_body":
		p.Kind = snapshot.TranscodingPlace_KIND_RAW_BODY
	case "none":
		p.Kind = snapshot.TranscodingPlace_KIND_NONE
	default:
		return nil
	}
	nameless := p.Kind >= snapshot.TranscodingPlace_KIND_RAW_BODY
	if nameless == named || !nameless && name == "" {
		return nil
	}
	return p
}

// errorEntry sets the status of a declared exception.
func (c *compiler) errorEntry(r *route, name string, code int) {
	if code < 400 || code > 599 {
		c.add(r.file, r.at, false, "The status %d of %s is not between 400 and 599.", code, name)
		return
	}
	for i := range r.call.throws {
		if x := &r.call.throws[i]; x.name == name {
			x.status = uint32(code)
			return
		}
	}
	c.add(r.file, r.at, false, "%s does not throw %s.", r.call.name, name)
}

// paramName is what a parameter of a path can be called.
const paramName = `[A-Za-z_][A-Za-z0-9_.-]*`

// template reads a path in either spelling: {name} and {name...}, or :name and *name.
func (c *compiler) template(r *route) bool {
	param := regexp.MustCompile(`^(?:\{(` + paramName + `)(\.\.\.)?\}|:(` + paramName + `)|\*(` + paramName + `))$`)
	path := strings.TrimSuffix(r.path, "/")
	wrong := func(format string, args ...any) bool {
		c.add(r.file, r.at, false, "The path %q "+format+".", append([]any{r.path}, args...)...)
		return false
	}
	switch {
	case !strings.HasPrefix(r.path, "/"):
		return wrong("does not begin with a slash")
	case len(r.path) > 256:
		return wrong("is longer than 256 bytes")
	case path == "/.weir" || strings.HasPrefix(path, "/.weir/"):
		return wrong("is one of Weir's own")
	}
	out := "/"
	for i, s := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if path == "" {
			break
		}
		if i > 0 {
			if strings.HasSuffix(out, "...}") {
				return wrong("goes on after the rest of it")
			}
			out += "/"
		}
		m := param.FindStringSubmatch(s)
		if m == nil {
			if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "{}:*?#%\\ ") || !printable(s) {
				return wrong("has the segment %q, which is neither plain text nor a parameter as in {id}", s)
			}
			out += s
			continue
		}
		name, rest := strings.TrimSuffix(m[1]+m[3]+m[4], "..."), ""
		if m[2] != "" || m[4] != "" {
			rest = "..."
		}
		if slices.Contains(r.params, name) {
			return wrong("has the parameter %s twice", name)
		}
		r.params = append(r.params, name)
		out += "{" + name + rest + "}"
	}
	r.path = out
	return true
}

func printable(s string) bool {
	for _, c := range s {
		if c < ' ' || c == 0x7F {
			return false
		}
	}
	return true
}

// ambiguous reports routes that match the same paths.
func (c *compiler) ambiguous(routes []*route) {
	names := regexp.MustCompile(`\{` + paramName + `?(\.\.\.)?\}`)
	first := map[string]*route{}
	for _, r := range routes {
		shape := r.method + " " + names.ReplaceAllString(r.path, "{$1}")
		if other := first[shape]; other != nil {
			c.add(r.file, r.at, false, "%s %s matches what %s in %s, line %d, matches: of two routes neither goes first.", r.method, r.path, other.path, other.file, other.at.line)
			continue
		}
		first[shape] = r
	}
}
