// SPDX-License-Identifier: Apache-2.0

package idl

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// Whatever the text, there is a mapping or a reason why not, the same each time.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"", "service S { void a() (api.get = '/a') }",
		"struct A { 1: required i32 a = 1 (api.path = 'x') } service S { A b(1: A a) (api.post = '/x/:x') }",
		"struct A {1: map<i32,list<set<string>>> m = {1: [['x']]}} exception E {1: i32 c (api.http_code='')} service S { A b(1: list<A> a) throws (1: E e) (api.put='/{b}') }",
		"typedef list<B> B service S { B b(1: B b) (api.get = '/') }",
		"include 'main.thrift' union U { 1: U u } service S extends S { U u(1: U u) (api.delete = '/*u') }",
		"/* \" */ const string x = '\\'' # x\n // y\nenum E { A, B = 0x10 (x='y'), } service S { oneway void e(1: E e = E.B) (api.patch = '/e') }",
	} {
		f.Add(text, "- {method: GET, path: '/r/{a}', call: S.b, map: {a: [path:a, body]}, errors: {E: 409}}")
	}
	f.Fuzz(func(t *testing.T, text, routes string) {
		for _, src := range []Source{
			{Files: map[string]string{"main.thrift": text}, Main: "main.thrift"},
			{Files: map[string]string{"main.thrift": text, "routes": routes}, Main: "main.thrift", Routes: "routes"},
		} {
			out, found := Compile(src)
			if Failed(found) == (out != nil) {
				t.Fatalf("a mapping %v, and findings %v", out != nil, found)
			}
			if n := proto.Size(out); n > MaxBytes {
				t.Fatalf("the mapping has %d bytes", n)
			}
			again, same := Compile(src)
			if !proto.Equal(out, again) || !cmp.Equal(found, same) {
				t.Fatalf("not the same again:\n%s%s", cmp.Diff(out, again, protocmp.Transform()), cmp.Diff(found, same))
			}
		}
	})
}

// Texts that make naive readers run out of stack, memory or time.
func TestHostileText(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("typedef i32 T0\n")
	for i := range 30 {
		fmt.Fprintf(&bomb, "typedef map<T%d,T%d> T%d\n", i, i, i+1)
	}
	for name, test := range map[string]struct{ text, want string }{
		"nested brackets": {"struct A { 1: " + strings.Repeat("list<", 100_000) + "i32" + strings.Repeat(">", 100_000) + " a }", "Brackets nest deeper"},
		"nested constant": {"const i32 X = " + strings.Repeat("[", 300_000), "Brackets nest deeper"},
		"typedef bomb":    {bomb.String() + "service S { void a(1: T10 t) (api.post = '/a') }", "more than 64 types"},
		"constant circle": {"const i32 A = B const i32 B = A service S { void a(1: i32 x = A) (api.post = '/a') }", "circle"},
		"constant bomb": {
			"const list<i32> A = [1,1,1,1,1,1,1,1,1,1] const list<list<i32>> B = [A,A,A,A,A,A,A,A,A,A] const list<list<list<i32>>> C = [B,B,B,B,B,B,B,B,B,B]" +
				" const list<list<list<list<i32>>>> D = [C,C,C,C,C,C,C,C,C,C] const list<list<list<list<list<i32>>>>> E = [D,D,D,D,D,D,D,D,D,D]" +
				" service S { void a(1: list<list<list<list<list<list<i32>>>>>> x = [E,E,E,E,E]) (api.post = '/a') }", "too large",
		},
		"endless comment": {"/*" + strings.Repeat("*", 1_000_000), "not Thrift IDL"},
		"endless string":  {"struct A { 1: string a = '" + strings.Repeat("x", 1_000_000), "not Thrift IDL"},
		"too much text":   {strings.Repeat(" ", maxText+1), "are possible"},
		"no UTF-8":        {"service S { void a() (api.get = '/\xff') }", "not UTF-8"},
		"too many types":  {"struct A {" + manyFields(30_000) + "} service S { void a(1: A a) (api.post = '/a') }", "262144 are possible"},
	} {
		t.Run(name, func(t *testing.T) {
			_, found := Compile(Source{Files: map[string]string{"main.thrift": test.text}, Main: "main.thrift"})
			if !Failed(found) || !strings.Contains(found[0].Message, test.want) {
				t.Errorf("found %v, want one with %q", found, test.want)
			}
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "%d: i32 field%d\n", i, i)
	}
	return b.String()
}
