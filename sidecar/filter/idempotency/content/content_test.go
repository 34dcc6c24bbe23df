// SPDX-License-Identifier: Apache-2.0

package content_test

import (
	"strings"
	"testing"

	"weir.dev/weir/sidecar/filter/idempotency/content"
)

func pointers(t *testing.T, list ...string) []content.Pointer {
	t.Helper()
	var out []content.Pointer
	for _, s := range list {
		p, err := content.ParsePointer(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// TestDigest: two bodies are the same request's, or not.
func TestDigest(t *testing.T) {
	const isJSON, form = "application/json", "multipart/form-data; boundary="
	nested := func(n int, inner string) string { return strings.Repeat("[", n) + inner + strings.Repeat("]", n) }
	long := `"` + strings.Repeat("x", 200) + `"`
	type body struct{ kind, text string }
	for name, tc := range map[string]struct {
		one, two body
		exclude  []string
		same     bool
	}{
		"order of members":          {body{isJSON, `{"a":1,"b":2}`}, body{isJSON, `{"b":2,"a":1}`}, nil, true},
		"order in depth":            {body{isJSON, `[{"a":{"x":1,"y":[2]}}]`}, body{isJSON, `[{"a":{"y":[2],"x":1}}]`}, nil, true},
		"order of long members":     {body{isJSON, `{"a":` + long + `,"b":[` + long + `]}`}, body{isJSON, `{"b":[` + long + `],"a":` + long + `}`}, nil, true},
		"order of elements":         {body{isJSON, `[1,2]`}, body{isJSON, `[2,1]`}, nil, false},
		"white space":               {body{isJSON, `{"a":[1,true]}`}, body{isJSON, " {\r\n\t\"a\" : [ 1 , true ] } "}, nil, true},
		"white space in a string":   {body{isJSON, `"a b"`}, body{isJSON, `"a  b"`}, nil, false},
		"escapes":                   {body{isJSON, `"\u0041\/\n\ud83d\ude00"`}, body{isJSON, `"A/\u000a😀"`}, nil, true},
		"escapes in a name":         {body{isJSON, `{"\u0041":1}`}, body{isJSON, `{"A":1}`}, nil, true},
		"half a pair":               {body{isJSON, `"\ud83d"`}, body{isJSON, `"\ufffd"`}, nil, false},
		"two halves, wrong order":   {body{isJSON, `"\ude00\ud83d"`}, body{isJSON, `"\ud83d\ude00"`}, nil, false},
		"numbers as written":        {body{isJSON, `1`}, body{isJSON, `1.0`}, nil, false},
		"a number is no string":     {body{isJSON, `1`}, body{isJSON, `"1"`}, nil, false},
		"an array is no object":     {body{isJSON, `[]`}, body{isJSON, `{}`}, nil, false},
		"null is not missing":       {body{isJSON, `{"a":null}`}, body{isJSON, `{}`}, nil, false},
		"true is not false":         {body{isJSON, `true`}, body{isJSON, `false`}, nil, false},
		"nesting":                   {body{isJSON, `[[1],2]`}, body{isJSON, `[[1,2]]`}, nil, false},
		"excluded":                  {body{isJSON, `{"a":1,"sentAt":2}`}, body{isJSON, `{"sentAt":{"x":[1]},"a":1}`}, []string{"/sentAt"}, true},
		"excluded and not sent":     {body{isJSON, `{"a":1,"sentAt":2}`}, body{isJSON, `{"a":1}`}, []string{"/sentAt"}, true},
		"excluded in depth":         {body{isJSON, `{"a":[{"b":1,"c":1}]}`}, body{isJSON, `{"a":[{"b":1,"c":2}]}`}, []string{"/a/0/c"}, true},
		"not what is excluded":      {body{isJSON, `{"a":[{},{"c":1}]}`}, body{isJSON, `{"a":[{},{"c":2}]}`}, []string{"/a/0/c"}, false},
		"excluded element":          {body{isJSON, `[1,2,3]`}, body{isJSON, `[1,9,3]`}, []string{"/1"}, true},
		"excluded element's place":  {body{isJSON, `[1,2,3]`}, body{isJSON, `[1,3]`}, []string{"/1"}, false},
		"excluded with escapes":     {body{isJSON, `{"a/b":{"~":1}}`}, body{isJSON, `{"a/b":{"~":2}}`}, []string{"/a~1b/~0"}, true},
		"excluded: everything":      {body{isJSON, `1`}, body{isJSON, `{"a":2}`}, []string{""}, true},
		"excluded: no JSON":         {body{"text/plain", `{"a":1}`}, body{"text/plain", `{"a":2}`}, []string{"/a"}, false},
		"a name twice":              {body{isJSON, `{"a":1,"a":2}`}, body{isJSON, `{"a":1,"a":2} `}, nil, false},
		"a name twice, escaped":     {body{isJSON, `{"a":1,"\u0061":2}`}, body{isJSON, `{"a":1,"a":2}`}, nil, false},
		"not UTF-8":                 {body{isJSON, "\"\xff\""}, body{isJSON, " \"\xff\""}, nil, false},
		"as deep as possible":       {body{isJSON, nested(content.MaxDepth, "1")}, body{isJSON, nested(content.MaxDepth, " 1")}, nil, true},
		"too deep":                  {body{isJSON, nested(content.MaxDepth+1, "1")}, body{isJSON, nested(content.MaxDepth+1, " 1")}, nil, false},
		"too deep, the same bytes":  {body{isJSON, nested(content.MaxDepth+1, "1")}, body{isJSON, nested(content.MaxDepth+1, "1")}, nil, true},
		"no JSON":                   {body{isJSON, `{"a":01}`}, body{isJSON, `{"a": 01}`}, nil, false},
		"no JSON type":              {body{"text/plain", `{"a":1}`}, body{"text/plain", `{"a": 1}`}, nil, false},
		"JSON or bytes":             {body{isJSON, `1`}, body{"text/plain", `1`}, nil, false},
		"no type at all":            {body{"", `{"a":1}`}, body{"", `{"a": 1}`}, nil, true},
		"a +json type":              {body{"application/vnd.api+json; charset=utf-8", `{"a":1}`}, body{"Application/JSON", `{"a": 1}`}, nil, true},
		"empty":                     {body{isJSON, ``}, body{isJSON, ` `}, nil, false},
		"a form is its bytes":       {body{"application/x-www-form-urlencoded", `a=1&b=2`}, body{"application/x-www-form-urlencoded", `b=2&a=1`}, nil, false},
		"boundaries":                {body{form + "AA", "--AA\r\nX: 1\r\n\r\nhello\r\n--AA--\r\n"}, body{form + `"b b"`, "--b b\r\nX: 1\r\n\r\nhello\r\n--b b--\r\n"}, nil, true},
		"parts":                     {body{form + "AA", "--AA\r\n\r\nhello\r\n--AA--\r\n"}, body{form + "AB", "--AB\r\n\r\nhullo\r\n--AB--\r\n"}, nil, false},
		"parts are told apart":      {body{form + "AA", "--AA\r\n\r\na\r\n--AA\r\n\r\nb\r\n--AA--"}, body{form + "AB", "--AB\r\n\r\na\r\n--AA\r\n\r\nb\r\n--AB--"}, nil, false},
		"a boundary that is not":    {body{form + "AA", "--AA\r\n\r\na\r\n--AA"}, body{form + "AB", "--AB\r\n\r\na\r\n--AB"}, nil, false},
		"another text for boundary": {body{form + "AA", "hello"}, body{form + "AB", "hello"}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			var one, two content.Canon
			exclude := pointers(t, tc.exclude...)
			a := one.Digest([]byte(tc.one.kind), false, []byte(tc.one.text), exclude)
			b := two.Digest([]byte(tc.two.kind), false, []byte(tc.two.text), exclude)
			if (a == b) != tc.same {
				t.Errorf("same is %v, want %v", a == b, tc.same)
			}
			if again := one.Digest([]byte(tc.one.kind), false, []byte(tc.one.text), exclude); again != a {
				t.Error("a Canon that is used again makes another digest")
			}
		})
	}
	var c content.Canon
	if c.Digest([]byte(isJSON), true, []byte(`[1]`), nil) == c.Digest([]byte(isJSON), true, []byte(`[ 1]`), nil) {
		t.Error("a coded body is read as JSON")
	}
}

func TestFind(t *testing.T) {
	for name, tc := range map[string]struct {
		body, pointer string
		want          string
		found         content.Found
	}{
		"a string":             {`{"key":"a\u0062"}`, "/key", "ab", content.Scalar},
		"a number":             {`{"key":1.50}`, "/key", "1.50", content.Scalar},
		"true":                 {`{"key":true}`, "/key", "true", content.Scalar},
		"in depth":             {`{"a":[0,{"b/c":"x"}]}`, "/a/1/b~1c", "x", content.Scalar},
		"the whole":            {` "x" `, "", "x", content.Scalar},
		"an empty name":        {`{"":"x"}`, "/", "x", content.Scalar},
		"an empty string":      {`{"key":""}`, "/key", "", content.Missing},
		"null":                 {`{"key":null}`, "/key", "", content.Missing},
		"missing":              {`{"keys":1}`, "/key", "", content.Missing},
		"an index past":        {`[1]`, "/1", "", content.Missing},
		"an index with a 0":    {`[1,2]`, "/01", "", content.Missing},
		"the next":             {`[1,2]`, "/-", "", content.Missing},
		"a member of an array": {`[1,2]`, "/a", "", content.Missing},
		"no JSON":              {`{"key":"a"`, "/key", "", content.Missing},
		"JSON and more":        {`{"key":"a"}}`, "/key", "", content.Missing},
		"no UTF-8":             {"{\"key\":\"a\xff\"}", "/key", "", content.Missing},
		"empty":                {``, "/key", "", content.Missing},
		"an array":             {`{"key":[1]}`, "/key", "", content.Container},
		"twice":                {`{"key":"a","key":"a"}`, "/key", "", content.Doubtful},
		"twice, escaped":       {`{"key":"a","\u006bey":"b"}`, "/key", "", content.Doubtful},
		"its parent twice":     {`{"a":{"key":"a"},"a":{}}`, "/a/key", "", content.Doubtful},
		"another twice":        {`{"key":"a","b":1,"b":2}`, "/key", "a", content.Scalar},
		"too deep":             {`{"key":"a","b":` + strings.Repeat("[", content.MaxDepth) + strings.Repeat("]", content.MaxDepth) + `}`, "/key", "", content.Missing},
	} {
		t.Run(name, func(t *testing.T) {
			var c content.Canon
			got, found := c.Find([]byte("+"), []byte(tc.body), pointers(t, tc.pointer)[0])
			if found != tc.found || found == content.Scalar && string(got) != "+"+tc.want {
				t.Errorf("got %q, %d, want %q, %d", got, found, tc.want, tc.found)
			}
			if found == content.Missing && string(got) != "+" {
				t.Errorf("something was appended for what is missing: %q", got)
			}
		})
	}
	var c content.Canon
	a, _ := c.Find(nil, []byte(`{"o":{"a":1,"b":2}}`), pointers(t, "/o")[0])
	b, _ := c.Find(nil, []byte(`{"o":{"b":2, "a":1}}`), pointers(t, "/o")[0])
	if len(a) == 0 || string(a) != string(b) {
		t.Errorf("one object, two encodings: %q and %q", a, b)
	}
}

func TestParsePointer(t *testing.T) {
	for name, s := range map[string]string{
		"no slash": "a", "a bare tilde": "/a~", "another escape": "/a~2", "too long": "/" + strings.Repeat("a", 1024),
		"too many parts": strings.Repeat("/a", 33), "no UTF-8": "/\xff",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := content.ParsePointer(s); err == nil {
				t.Errorf("%q was taken", s)
			}
		})
	}
}

func TestHeaderKey(t *testing.T) {
	const bad = "\x00"
	for name, tc := range map[string]struct{ field, want string }{
		"bare":                    {"8e03978e-40d5-43e8-bc93-6894a57f9324", "8e03978e-40d5-43e8-bc93-6894a57f9324"},
		"quoted":                  {`"8e03978e-40d5-43e8-bc93-6894a57f9324"`, "8e03978e-40d5-43e8-bc93-6894a57f9324"},
		"stripe-go's":             {"1699000000_aB3dE=", "1699000000_aB3dE="},
		"white space around":      {" \tabc ", "abc"},
		"bare with punctuation":   {"a;b=c:d/e\\f", "a;b=c:d/e\\f"},
		"quoted with spaces":      {`"a b, c"`, "a b, c"},
		"escapes":                 {`"a\"\\"`, `a"\`},
		"a parameter":             {`"a";v=1`, "a"},
		"parameters":              {`"a"; b; c="x;\"y"`, "a"},
		"empty":                   {"", bad},
		"an empty string":         {`""`, bad},
		"not closed":              {`"abc`, bad},
		"closed too early":        {`"abc"d`, bad},
		"an escape that is none":  {`"a\b"`, bad},
		"cut escape":              {`"a\`, bad},
		"two, joined":             {"abc, def", bad},
		"two quoted, joined":      {`"abc", "def"`, bad},
		"a comma":                 {"abc,def", bad},
		"a space":                 {"abc def", bad},
		"a quote within":          {`abc"`, bad},
		"not ASCII":               {"clé", bad},
		"not ASCII, quoted":       {`"clé"`, bad},
		"a control, quoted":       {"\"a\tb\"", bad},
		"no parameter":            {`"a";`, bad},
		"no name of a parameter":  {`"a";V`, bad},
		"a parameter not closed":  {`"a";v="x`, bad},
		"a parameter, cut escape": {`"a";v="\`, bad},
		"a list":                  {`"a";v=1, "b"`, bad},
		"a byte sequence":         {":YWJj:", ":YWJj:"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := content.HeaderKey([]byte("+"), []byte(tc.field))
			if tc.want == bad {
				if err == nil || string(got) != "+" {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if err != nil || string(got) != "+"+tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}
