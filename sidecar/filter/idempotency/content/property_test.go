// SPDX-License-Identifier: Apache-2.0

package content_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/filter/idempotency/content"
)

// value is a JSON value as a test makes it: nil, bool, json.Number, string, []any or
// map[string]any.
func value(t *rapid.T, depth int) any {
	most := 6
	if depth > 3 {
		most = 4
	}
	switch rapid.IntRange(0, most).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2, 3:
		return json.Number(rapid.SampledFrom([]string{"0", "1", "1.0", "-1", "1e0", "12"}).Draw(t, "number"))
	case 4:
		return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"1", "", strings.Repeat("y", 100)})).Draw(t, "string")
	case 5:
		list := make([]any, rapid.IntRange(0, 4).Draw(t, "length"))
		for i := range list {
			list[i] = value(t, depth+1)
		}
		return list
	default:
		m := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "members") {
			m[rapid.SampledFrom([]string{"a", "b", "ab", "A", "", "sentAt", "é", "\n"}).Draw(t, "name")] = value(t, depth+1)
		}
		return m
	}
}

// write spells a value in one of the many ways that JSON has.
func write(t *rapid.T, b *bytes.Buffer, v any) {
	space := func() { b.WriteString(rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space")) }
	space()
	switch v := v.(type) {
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			write(t, b, e)
		}
		space()
		b.WriteByte(']')
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		// A map has no order that a test could repeat.
		names = rapid.Permutation(sorted(names)).Draw(t, "order")
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			writeString(t, b, name)
			space()
			b.WriteByte(':')
			write(t, b, v[name])
		}
		space()
		b.WriteByte('}')
	case string:
		writeString(t, b, v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(text)
	}
	space()
}

func sorted(names []string) []string {
	for i := range names {
		for j := i; j > 0 && names[j] < names[j-1]; j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
	return names
}

func writeString(t *rapid.T, b *bytes.Buffer, s string) {
	b.WriteByte('"')
	escape := rapid.SampledFrom([]string{"least", "some", "all"}).Draw(t, "escape")
	for i, r := range []rune(s) {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || escape == "all" && r < 0xffff || escape == "some" && i%2 == 0 && r < 0xffff:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// TestSameMeaningSameDigest: however a value is spelt, its digest is one, and that of
// no other value.
func TestSameMeaningSameDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c content.Canon
		digest := func(v any) [32]byte {
			var b bytes.Buffer
			write(t, &b, v)
			if !json.Valid(b.Bytes()) {
				t.Fatalf("the test writes no JSON: %s", b.Bytes())
			}
			return c.Digest([]byte("application/json"), false, b.Bytes(), nil)
		}
		one := value(t, 0)
		first, second := digest(one), digest(one)
		if first != second {
			t.Fatalf("%v has two digests", one)
		}
		if two := value(t, 0); reflect.DeepEqual(one, two) != (digest(one) == digest(two)) {
			t.Fatalf("%v and %v", one, two)
		}
	})
}

// TestExcludedPlaysNoPart: what stands at a pointer can be anything.
func TestExcludedPlaysNoPart(t *testing.T) {
	sentAt, err := content.ParsePointer("/sentAt")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		var c content.Canon
		body := map[string]any{"a": value(t, 1)}
		digest := func(exclude ...content.Pointer) [32]byte {
			var b bytes.Buffer
			write(t, &b, body)
			return c.Digest(nil, false, b.Bytes(), exclude)
		}
		without, plain := digest(sentAt), digest()
		if without != plain {
			t.Fatal("a pointer to nothing makes another digest")
		}
		body["sentAt"] = value(t, 1)
		if digest(sentAt) != without {
			t.Fatalf("%v matters", body["sentAt"])
		}
		if digest() == plain {
			t.Fatalf("%v does not matter when it is not excluded", body["sentAt"])
		}
	})
}

// tree reads JSON by encoding/json; ok is false where that has another view of what is
// JSON, or of what a text means, than this package.
func tree(b []byte) (v any, ok bool) {
	if bytes.Contains(bytes.ToLower(b), []byte(`\ud`)) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	_, err := d.Token()
	return v, err == io.EOF
}

// FuzzDigest: two texts that encoding/json reads as one value have one digest, and two
// values have two.
func FuzzDigest(f *testing.F) {
	f.Add([]byte(`{"a":[1,"x"]}`), []byte(`{ "a" : [1,"\u0078"]}`))
	f.Add([]byte(`[]`), []byte(`{}`))
	f.Add([]byte(`"\ud800"`), []byte(`"é"`))
	f.Add([]byte(`{"a":1,"a":2}`), []byte(`{"a":2}`))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		var c content.Canon
		kind := []byte("application/json")
		a, b := c.Digest(kind, false, one, nil), c.Digest(kind, false, two, nil)
		if bytes.Equal(one, two) != (a == b) && bytes.Equal(one, two) {
			t.Fatal("the same bytes have two digests")
		}
		x, ok := tree(one)
		y, too := tree(two)
		if a == b && ok && too && !reflect.DeepEqual(x, y) {
			t.Fatalf("%q and %q have one digest", one, two)
		}
		if a == b && ok != too && !bytes.Contains(bytes.ToLower(one), []byte(`\ud`)) && !bytes.Contains(bytes.ToLower(two), []byte(`\ud`)) {
			t.Fatalf("%q and %q have one digest, and one of them is no JSON", one, two)
		}
		if !ok {
			return
		}
		// What encoding/json writes has no member twice, and means what it has read.
		again, err := json.Marshal(x)
		if err != nil {
			return
		}
		if v, ok := tree(again); !ok || !reflect.DeepEqual(v, x) {
			return
		}
		var spaced bytes.Buffer
		if err := json.Indent(&spaced, again, " ", "\t"); err != nil {
			t.Fatal(err)
		}
		if depth(x) <= content.MaxDepth && c.Digest(kind, false, again, nil) != c.Digest(kind, false, spaced.Bytes(), nil) {
			t.Fatalf("%q matters by its white space", again)
		}
	})
}

func depth(v any) int {
	most := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	case map[string]any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	default:
		return 0
	}
	return most + 1
}

// FuzzFind: no panic, and what is found is what encoding/json finds.
func FuzzFind(f *testing.F) {
	f.Add([]byte(`{"a":{"b":["x"]}}`), "/a/b/0")
	f.Add([]byte(`{"a":1,"a":2}`), "/a")
	f.Add([]byte(`"x"`), "")
	f.Fuzz(func(t *testing.T, body []byte, pointer string) {
		p, err := content.ParsePointer(pointer)
		if err != nil {
			return
		}
		var c content.Canon
		got, found := c.Find(nil, body, p)
		v, ok := tree(body)
		if !ok || found == content.Doubtful || depth(v) > content.MaxDepth {
			return
		}
		if pointer != "" {
			for token := range strings.SplitSeq(pointer[1:], "/") {
				token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
				switch at := v.(type) {
				case map[string]any:
					v = at[token]
				case []any:
					v = nil
					for i, e := range at {
						if fmt.Sprint(i) == token {
							v = e
						}
					}
				default:
					v = nil
				}
			}
		}
		want := ""
		switch v := v.(type) {
		case string:
			want = v
		case json.Number:
			want = v.String()
		case bool:
			want = fmt.Sprint(v)
		}
		if (found == content.Scalar) != (want != "") && !bytes.ContainsRune(body, '�') && bytes.Equal(body, bytes.ToValidUTF8(body, nil)) || found == content.Scalar && string(got) != want {
			t.Fatalf("%q of %q: %q, %d, want %q", pointer, body, got, found, want)
		}
	})
}

// FuzzHeaderKey: a key that is quoted is the key.
func FuzzHeaderKey(f *testing.F) {
	f.Add([]byte(`"a\"b";v="x"`))
	f.Add([]byte(`abc`))
	f.Fuzz(func(t *testing.T, field []byte) {
		key, err := content.HeaderKey(nil, field)
		if err != nil {
			return
		}
		if len(key) == 0 {
			t.Fatalf("%q has an empty key", field)
		}
		quoted := append([]byte{'"'}, bytes.ReplaceAll(bytes.ReplaceAll(key, []byte(`\`), []byte(`\\`)), []byte(`"`), []byte(`\"`))...)
		again, err := content.HeaderKey(nil, append(quoted, '"'))
		if err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%q: %q, quoted %q, %v", field, key, again, err)
		}
	})
}
