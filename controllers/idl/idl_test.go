// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
)

// Transcripts: `file` and `routes` give texts, `compile` says what they make.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		src := Source{Files: map[string]string{}, Main: "main.thrift"}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				src.Files[d.CmdArgs[0].Key] = d.Input + "\n"
				return ""
			case "routes":
				src.Files["routes.yaml"], src.Routes = d.Input+"\n", "routes.yaml"
				return ""
			case "clear":
				src = Source{Files: map[string]string{}, Main: "main.thrift"}
				return ""
			case "compile":
				out, found := Compile(src)
				for range 5 {
					again, same := Compile(src)
					if !proto.Equal(again, out) || !cmp.Equal(found, same) {
						t.Errorf("%s: the same text makes another mapping:\n%s%s", d.Pos, cmp.Diff(out, again, protocmp.Transform()), cmp.Diff(found, same))
					}
				}
				return describe(t, out, found)
			case "method":
				out, found := CompileMethod(src, d.CmdArgs[0].Key)
				return describe(t, out, found)
			}
			t.Fatalf("%s: there is no command %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

// describe is a mapping as one can read it.
func describe(t *testing.T, m *snapshot.Transcoding, found []Finding) string {
	t.Helper()
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintln(&b, f)
	}
	if Failed(found) != (m == nil) {
		t.Errorf("mapping %v with findings %v", m, found)
	}
	if m == nil {
		return b.String()
	}
	fmt.Fprintf(&b, "%s %s\n", short(m.GetTransport()), short(m.GetProtocol()))
	for _, e := range m.GetEnums() {
		fmt.Fprintf(&b, "enum %s", e.GetName())
		for _, v := range e.GetValues() {
			fmt.Fprintf(&b, " %s=%d", v.GetName(), v.GetNumber())
		}
		fmt.Fprintln(&b)
	}
	for _, s := range m.GetStructs() {
		fmt.Fprintf(&b, "%s %s\n", short(s.GetKind()), s.GetName())
		for _, f := range s.GetFields() {
			fmt.Fprintf(&b, "  %d %s %s %s", f.GetId(), short(f.GetRequiredness()), typeText(m, f.GetType()), f.GetName())
			if f.GetDefaultJson() != "" {
				fmt.Fprintf(&b, " = %s", f.GetDefaultJson())
			}
			if f.GetQuoted() {
				b.WriteString(" quoted")
			}
			if f.GetHidden() {
				b.WriteString(" hidden")
			}
			fmt.Fprintln(&b)
		}
	}
	describeMethods(&b, m)
	return b.String()
}

func describeMethods(b *strings.Builder, m *snapshot.Transcoding) {
	for _, f := range m.GetMethods() {
		fmt.Fprintf(b, "method %s.%s: %s(%s)", f.GetService(), f.GetName(), f.GetCall(), m.GetStructs()[f.GetArguments()].GetName())
		if f.GetOneway() {
			b.WriteString(" oneway")
		}
		if f.GetResult() != nil {
			fmt.Fprintf(b, " -> %s", typeText(m, f.GetResult()))
		}
		for _, x := range f.GetThrows() {
			fmt.Fprintf(b, " throws %d %s %d", x.GetId(), m.GetStructs()[x.GetException()].GetName(), x.GetStatus())
			if x.GetHasStatusField() {
				fmt.Fprintf(b, " or field %d", x.GetStatusField())
			}
		}
		fmt.Fprintln(b)
	}
	for _, r := range m.GetRoutes() {
		f := m.GetMethods()[r.GetCall()]
		fmt.Fprintf(b, "route %s %s -> %s.%s unwrap=%v body=%v", r.GetMethod(), r.GetPath(), f.GetService(), f.GetName(), r.GetUnwrap(), r.GetBody())
		for _, in := range r.GetInputs() {
			fmt.Fprintf(b, " %d<", in.GetField())
			for i, p := range in.GetPlaces() {
				if i > 0 {
					b.WriteString("|")
				}
				fmt.Fprintf(b, "%s:%s", short(p.GetKind()), p.GetName())
			}
		}
		for _, out := range r.GetOutputs() {
			fmt.Fprintf(b, " %d>%s:%s", out.GetField(), short(out.GetPlace().GetKind()), out.GetPlace().GetName())
		}
		fmt.Fprintln(b)
	}
}

// short is an enum's value without what all of them have.
func short(v fmt.Stringer) string {
	text := v.String()
	for _, prefix := range []string{"THRIFT_TRANSPORT_", "THRIFT_PROTOCOL_", "KIND_", "REQUIREDNESS_"} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.ToLower(text)
}

func typeText(m *snapshot.Transcoding, t *snapshot.ThriftType) string {
	switch t.GetKind() {
	case snapshot.ThriftType_KIND_ENUM:
		return m.GetEnums()[t.GetIndex()].GetName()
	case snapshot.ThriftType_KIND_STRUCT:
		return m.GetStructs()[t.GetIndex()].GetName()
	case snapshot.ThriftType_KIND_MAP:
		return "map<" + typeText(m, t.GetKey()) + "," + typeText(m, t.GetElement()) + ">"
	case snapshot.ThriftType_KIND_LIST, snapshot.ThriftType_KIND_SET:
		return short(t.GetKind()) + "<" + typeText(m, t.GetElement()) + ">"
	}
	return short(t.GetKind())
}
