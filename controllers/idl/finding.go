// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Source is what an IDL is made of.
type Source struct {
	// Files are texts by name. An include is found by its path beside the file that has
	// it, by its path as it is, then by the path's last element.
	Files map[string]string
	// Main is the name of the IDL whose services are meant.
	Main string
	// Routes is the name of the routes' text; empty: annotations are all there is.
	Routes string
}

// Finding is something that somebody has to put right, or ought to know.
type Finding struct {
	// File, Line and Column say where; Line and Column count from 1 and are 0 where no
	// place is meant.
	File         string
	Line, Column int
	// Warning: the mapping works nevertheless.
	Warning bool
	// Message is a sentence.
	Message string
}

// String is `file:line:column: message`.
func (f Finding) String() string {
	out := ""
	if f.File != "" {
		out = f.File + ": "
		if f.Line > 0 {
			out = fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
		}
	}
	if f.Warning {
		out += "warning: "
	}
	return out + f.Message
}

// Failed reports whether one of the findings is no warning.
func Failed(all []Finding) bool {
	return slices.ContainsFunc(all, func(f Finding) bool { return !f.Warning })
}

// position is a place in a text.
type position struct{ line, column int }

// maxFindings is how many are reported: more do not help anyone.
const maxFindings = 50

// findings collects them.
type findings struct{ all []Finding }

func (f *findings) add(file string, at position, warning bool, format string, args ...any) {
	n := Finding{File: file, Line: at.line, Column: at.column, Warning: warning, Message: fmt.Sprintf(format, args...)}
	if len(f.all) < maxFindings && !slices.Contains(f.all, n) {
		f.all = append(f.all, n)
	}
}

// failed reports whether one of them is no warning.
func (f *findings) failed() bool { return Failed(f.all) }

// sorted are errors first, each by position.
func (f *findings) sorted() []Finding {
	slices.SortStableFunc(f.all, func(a, b Finding) int {
		switch {
		case a.Warning != b.Warning:
			if b.Warning {
				return -1
			}
			return 1
		case a.File != b.File:
			return strings.Compare(a.File, b.File)
		case a.Line != b.Line:
			return a.Line - b.Line
		}
		return cmp.Or(a.Column-b.Column, strings.Compare(a.Message, b.Message))
	})
	return f.all
}
