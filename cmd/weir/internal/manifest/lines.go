// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// source is the text of one document, and where it stands in its file. Lines
// count from 1; they are for people, so what cannot be found is near.
type source struct {
	before int // lines of the file before the text
	last   int // line of the file; YAML knows line breaks that editors don't
	root   *yaml.Node
}

// cursor finds one document after the other in a file.
type cursor struct {
	data []byte
	at   int
}

func newCursor(data []byte) *cursor {
	return &cursor{data: bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))}
}

// next is the source of a text that a YAMLReader has read.
func (c *cursor) next(text []byte) source {
	trimmed := bytes.TrimRight(text, "\n")
	if i := bytes.Index(c.data[c.at:], trimmed); i >= 0 {
		c.at += i
	}
	s := source{before: bytes.Count(c.data[:c.at], []byte("\n")), last: bytes.Count(c.data, []byte("\n")) + 1}
	c.at += min(len(trimmed), len(c.data)-c.at)
	var document yaml.Node
	if yaml.Unmarshal(text, &document) == nil && len(document.Content) == 1 {
		s.root = document.Content[0]
	}
	return s
}

// first is the line on which the content begins.
func (s source) first() int {
	if s.root == nil {
		return s.inFile(1)
	}
	return s.inFile(s.root.Line)
}

func (s source) inFile(line int) int { return min(s.before+line, s.last) }

// line is that of the field at a path as API errors have it, or of the deepest
// field on the way to it that is there.
func (s source) line(path string) int {
	node, line := s.root, s.first()
	for _, step := range steps(path) {
		key, value := child(node, step)
		if value == nil {
			break
		}
		node, line = value, s.inFile(key.Line)
	}
	return line
}

var bracket = regexp.MustCompile(`\[([^\]]*)\]`)

// steps are spec, limits, 0, window for spec.limits[0].window.
func steps(path string) []string {
	var all []string
	var keys []string
	// Keys in brackets may hold dots.
	plain := bracket.ReplaceAllStringFunc(path, func(s string) string {
		keys = append(keys, s[1:len(s)-1])
		return ".[]"
	})
	for part := range strings.SplitSeq(plain, ".") {
		switch part {
		case "":
		case "[]":
			all, keys = append(all, keys[0]), keys[1:]
		default:
			all = append(all, part)
		}
	}
	return all
}

func child(node *yaml.Node, step string) (key, value *yaml.Node) {
	if node == nil {
		return nil, nil
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i], node.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	}
	return nil, nil
}

var syntaxLine = regexp.MustCompile(`^(?:error converting YAML to JSON: )?yaml: (?:line (\d+): )?`)

// syntax takes the line of the document out of a parser's message, and gives the
// line of the file.
func (s source) syntax(err error) (line int, message string) {
	text := err.Error()
	m := syntaxLine.FindStringSubmatch(text)
	if m == nil {
		return s.first(), text
	}
	line = s.first()
	if n, err := strconv.Atoi(m[1]); err == nil {
		line = s.inFile(n)
	}
	return line, strings.TrimSpace(strings.ReplaceAll(text[len(m[0]):], "\n", " "))
}
