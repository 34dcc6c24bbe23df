// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/idl"
	"weir.dev/weir/sidecar/wire/transcode"
)

// apacheTests is the folder of Apache Thrift's own IDLs, in the module's cache.
func apacheTests(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/apache/thrift").Output()
	if err != nil {
		t.Fatalf("where is apache/thrift: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "test")
}

// compiled is a method of an IDL, with the mapping it is from.
func compiled(t testing.TB, file, method string) (*snapshot.Transcoding, *transcode.Method) {
	t.Helper()
	files, err := readIDL(file)
	if err != nil {
		t.Fatal(err)
	}
	mapping, found := idl.CompileMethod(idl.Source{Files: files, Main: filepath.Base(file)}, method)
	if mapping == nil {
		t.Fatal(found)
	}
	table, err := transcode.Compile(mapping, transcode.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return mapping, table.Method(method)
}

// apacheProtocol is apache/thrift's codec of a protocol, over memory.
func apacheProtocol(p transcode.Protocol, mem *thrift.TMemoryBuffer) thrift.TProtocol {
	if p == transcode.Compact {
		return thrift.NewTCompactProtocolConf(mem, &thrift.TConfiguration{})
	}
	return thrift.NewTBinaryProtocolConf(mem, &thrift.TConfiguration{})
}

// What apache/thrift writes we turn into the JSON that it stands for, and what we make of
// that JSON apache/thrift reads as the same: for the methods of Apache's own test IDL.
func TestRoundTripsWithApache(t *testing.T) {
	folder := apacheTests(t)
	for file, methods := range map[string][]string{
		"ThriftTest.thrift": {
			"ThriftTest.testVoid", "ThriftTest.testString", "ThriftTest.testBool", "ThriftTest.testByte", "ThriftTest.testI32", "ThriftTest.testI64",
			"ThriftTest.testDouble", "ThriftTest.testBinary", "ThriftTest.testStruct", "ThriftTest.testNest", "ThriftTest.testMap",
			"ThriftTest.testStringMap", "ThriftTest.testSet", "ThriftTest.testList", "ThriftTest.testEnum", "ThriftTest.testTypedef",
			"ThriftTest.testMapMap", "ThriftTest.testInsanity", "ThriftTest.testMulti", "ThriftTest.testMultiException",
		},
		"DebugProtoTest.thrift": {"Srv.structMethod", "Srv.methodWithDefaultArgs", "ServiceForExceptionWithAMap.methodThatThrowsAnException"},
		"ManyTypedefs.thrift":   {"AService.method1", "AService.method2"},
	} {
		for _, name := range methods {
			t.Run(name, func(t *testing.T) {
				mapping, m := compiled(t, filepath.Join(folder, file), name)
				d := model{mapping}
				for _, p := range []transcode.Protocol{transcode.Binary, transcode.Compact} {
					rapid.Check(t, func(t *rapid.T) { d.arguments(t, m, p) })
					rapid.Check(t, func(t *rapid.T) { d.reply(t, m, p) })
				}
			})
		}
	}
}

// arguments: JSON to a call that apache/thrift reads.
func (d model) arguments(t *rapid.T, m *transcode.Method, p transcode.Protocol) {
	ctx := context.Background()
	args := &snapshot.ThriftType{Kind: kStruct, Index: d.m.GetMethods()[0].GetArguments()}
	want := d.draw(t, args, 0)
	text := d.json(args, want, false)
	seq := rapid.Int32().Draw(t, "seq")
	call, err := m.AppendCall(nil, p, seq, []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	mem := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(call)}
	in := apacheProtocol(p, mem)
	name, _, gotSeq, err := in.ReadMessageBegin(ctx)
	if err != nil || name != m.Call || gotSeq != seq {
		t.Fatalf("message %s %d: %v", name, gotSeq, err)
	}
	got, err := d.read(ctx, in, args)
	if err != nil {
		t.Fatalf("%s: %v\n%x", text, err, call)
	}
	if mem.Len() > 0 {
		t.Fatalf("%d bytes follow", mem.Len())
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(modelStruct{}, modelField{}, modelPair{}), cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", text, diff)
	}
}

// reply: what apache/thrift writes to JSON.
func (d model) reply(t *rapid.T, m *transcode.Method, p transcode.Protocol) {
	ctx := context.Background()
	method := d.m.GetMethods()[0]
	outcomes := []*snapshot.ThriftType{method.GetResult()}
	for _, x := range method.GetThrows() {
		outcomes = append(outcomes, &snapshot.ThriftType{Kind: kStruct, Index: x.GetException()})
	}
	i := rapid.IntRange(0, len(outcomes)-1).Draw(t, "outcome")
	mem := thrift.NewTMemoryBuffer()
	out := apacheProtocol(p, mem)
	must(t, out.WriteMessageBegin(ctx, m.Call, thrift.REPLY, 7))
	must(t, out.WriteStructBegin(ctx, "result"))
	want := "null"
	if typ := outcomes[i]; typ != nil {
		v := d.draw(t, typ, 0)
		want = d.json(typ, v, false)
		id := int16(0)
		if i > 0 {
			id = int16(method.GetThrows()[i-1].GetId())
		}
		must(t, out.WriteFieldBegin(ctx, "x", ttype(typ), id))
		must(t, d.write(ctx, out, typ, v))
		must(t, out.WriteFieldEnd(ctx))
	}
	must(t, out.WriteFieldStop(ctx))
	must(t, out.WriteStructEnd(ctx))
	must(t, out.WriteMessageEnd(ctx))
	must(t, out.Flush(ctx))
	r, err := m.Result(mem.Bytes(), 7)
	if err != nil {
		t.Fatalf("%x: %v, want %s", mem.Bytes(), err, want)
	}
	got := r.Value
	if i > 0 {
		got = r.Thrown
	}
	if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, got)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}
