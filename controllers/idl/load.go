// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cloudwego/thriftgo/parser"
)

// maxText is how large all files of an IDL may be: what fits into a ConfigMap.
const maxText = 1 << 20

// unit is one parsed file.
type unit struct {
	name     string
	ast      *parser.Thrift
	outline  *outline
	includes map[string]*unit

	structs  map[string]*parser.StructLike
	enums    map[string]*parser.Enum
	typedefs map[string]*parser.Typedef
	consts   map[string]*parser.Constant
	services map[string]*parser.Service
}

// at is the place of a definition or a member.
func (u *unit) at(name string) position { return u.outline.places[name] }

// loader parses files, each once.
type loader struct {
	*findings
	files map[string]string
	units map[string]*unit
}

func (l *loader) main(src Source) *unit {
	size := 0
	for _, text := range src.Files {
		size += len(text)
	}
	if size > maxText {
		l.add("", position{}, false, "The files have %d bytes together, %d are possible.", size, maxText)
		return nil
	}
	if _, ok := src.Files[src.Main]; !ok {
		l.add("", position{}, false, "There is no file %s; there are %s.", src.Main, names(src.Files))
		return nil
	}
	return l.load(src.Main, nil)
}

// load parses a file and what it includes. via are the files on the way to it.
func (l *loader) load(name string, via []string) *unit {
	if slices.Contains(via, name) {
		l.add(name, position{1, 1}, false, "The file includes itself, by way of %s.", strings.Join(append(via, name), ", "))
		return nil
	}
	if u, ok := l.units[name]; ok {
		return u
	}
	l.units[name] = nil
	text := l.files[name]
	if !utf8.ValidString(text) {
		l.add(name, position{}, false, "The file is not UTF-8.")
		return nil
	}
	u := &unit{name: name, outline: scan(text), includes: map[string]*unit{}}
	if at := u.outline.deep; at != (position{}) {
		l.add(name, at, false, "Brackets nest deeper than %d here.", maxNesting)
		return nil
	}
	if u.ast = l.parse(name, text); u.ast == nil {
		return nil
	}
	l.define(u)
	l.units[name] = u
	for _, inc := range u.ast.Includes {
		file, ok := l.find(name, inc.Path)
		if !ok {
			l.add(name, position{}, false, "The included file %s is not there; there are %s.", inc.Path, names(l.files))
			continue
		}
		if other := l.load(file, append(via, name)); other != nil {
			u.includes[strings.TrimSuffix(path.Base(inc.Path), path.Ext(inc.Path))] = other
		}
	}
	return u
}

// find is the file that an include of another means.
func (l *loader) find(from, include string) (string, bool) {
	for _, name := range []string{path.Join(path.Dir(from), include), path.Clean(include), path.Base(include)} {
		if _, ok := l.files[name]; ok {
			return name, true
		}
	}
	return "", false
}

// parse runs thriftgo's parser. It says what is wrong in lines of its own form.
func (l *loader) parse(name, text string) (out *parser.Thrift) {
	defer func() {
		// Its syntax tree is walked by assumptions that no grammar file proves.
		if r := recover(); r != nil {
			l.add(name, position{}, false, "The parser gave up on this file: %v.", r)
			out = nil
		}
	}()
	ast, err := parser.ParseString(name, text)
	if err != nil {
		at, near := syntaxError(err.Error())
		l.add(name, at, false, "This is not Thrift IDL%s. Annotations need a value, as in (deprecated = \"\").", near)
		return nil
	}
	return ast
}

// syntaxError reads thriftgo's message: `parse error near Rule (line 3 symbol 5 - line
// 3 symbol 6):` and the text in quotes.
func syntaxError(text string) (position, string) {
	m := regexp.MustCompile(`\(line (\d+) symbol (\d+) - line (\d+) symbol (\d+)\):\s*(.*)`).FindStringSubmatch(text)
	if m == nil {
		return position{}, ""
	}
	near := ""
	if got := strings.Trim(m[5], `" \n`); got != "" && len(got) < 60 {
		near = ", after " + `"` + got + `"`
	}
	return position{number(m[3]), number(m[4])}, near
}

func number(text string) int {
	n := 0
	for _, c := range text {
		if n < 1<<30 {
			n = n*10 + int(c-'0')
		}
	}
	return n
}

// define makes names known.
func (l *loader) define(u *unit) {
	u.structs, u.enums, u.typedefs = map[string]*parser.StructLike{}, map[string]*parser.Enum{}, map[string]*parser.Typedef{}
	u.consts, u.services = map[string]*parser.Constant{}, map[string]*parser.Service{}
	for _, s := range u.ast.GetStructLikes() {
		u.structs[s.Name] = s
	}
	for _, e := range u.ast.Enums {
		u.enums[e.Name] = e
	}
	for _, t := range u.ast.Typedefs {
		u.typedefs[t.Alias] = t
	}
	for _, c := range u.ast.Constants {
		u.consts[c.Name] = c
	}
	for _, s := range u.ast.Services {
		u.services[s.Name] = s
	}
	for name, at := range u.outline.twice {
		l.add(u.name, at, false, "%s is there twice, first in line %d.", name, u.at(name).line)
	}
}

func names[V any](m map[string]V) string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
