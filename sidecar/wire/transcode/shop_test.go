// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/prototext"

	"weir.dev/weir/api/snapshot"
)

// shop is the table of testdata/shop.thrift.
func shop(t testing.TB) *Table {
	t.Helper()
	b, err := os.ReadFile("testdata/shop.txtpb")
	if err != nil {
		t.Fatal(err)
	}
	m := &snapshot.Transcoding{}
	if err := prototext.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	table, err := Compile(m, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// fields are a head's.
type fields textproto.MIMEHeader

func (f fields) Header(name string) ([]byte, int) {
	values := textproto.MIMEHeader(f).Values(name)
	if len(values) == 0 {
		return nil, 0
	}
	return []byte(values[0]), len(values)
}

// request makes the call of `METHOD /path?query`, with a body and fields.
func request(t testing.TB, table *Table, line, body string, head fields) (*Route, []byte, error) {
	t.Helper()
	method, target, _ := strings.Cut(line, " ")
	path, query, _ := strings.Cut(target, "?")
	m := table.Find([]byte(method), []byte(path))
	if m.Route == nil {
		t.Fatalf("%s has no route", line)
	}
	call, err := m.Route.AppendCall(nil, Binary, 1, &Request{Params: m.Params, Query: []byte(query), Header: head, Body: []byte(body)})
	return m.Route, call, err
}

// The call's arguments as JSON, by the decoder: what apache/thrift makes of them is
// tested where IDLs can be compiled, in cmd/weir.
func TestRequest(t *testing.T) {
	table := shop(t)
	for name, test := range map[string]struct {
		line, body string
		head       fields
		want       string
		refusal    string
		status     int
	}{
		"members and a path": {
			line: "POST /users/a%20b/charges", body: `{"amount": 5, "currency": "USD", "unknown": [1, {"a": null}]}`,
			want: `{"req":{"userId":"a b","amount":5,"currency":"USD","tries":3}}`,
		},
		"numbers as text, null as unset": {
			line: "POST /users/7/charges", body: "\n{\"amount\": \"-9223372036854775808\", \"currency\": null, \"rate\": 1e3, \"tries\": -1}\n",
			want: `{"req":{"userId":"7","amount":-9223372036854775808,"rate":1000,"tries":-1,"currency":"EUR"}}`,
		},
		"the path goes before the body": {
			line: "POST /users/7/charges", body: `{"userId": 5, "amount": 1}`, want: `{"req":{"userId":"7","amount":1,"tries":3,"currency":"EUR"}}`,
		},
		"query, else body": {
			line: "POST /users/7/charges?tag=1&x=y&t%61g=2&urgent=true", body: `{"amount": 1, "tags": [9]}`,
			want: `{"req":{"userId":"7","tags":[1,2],"urgent":true,"amount":1,"tries":3,"currency":"EUR"}}`,
		},
		"body, where the query has none": {
			line: "POST /users/7/charges", body: `{"amount": 1, "tags": [9]}`, want: `{"req":{"userId":"7","amount":1,"tags":[9],"tries":3,"currency":"EUR"}}`,
		},
		"header, else cookie": {
			line: "POST /users/7/charges", body: `{"amount": 1}`, head: fields{"Idempotency-Key": {"k"}, "Cookie": {"key=c"}, "X-Labels": {"a, b"}},
			want: `{"req":{"userId":"7","key":"k","labels":["a","b"],"amount":1,"tries":3,"currency":"EUR"}}`,
		},
		"cookie": {
			line: "POST /users/7/charges", body: `{"amount": 1}`, head: fields{"Cookie": {`a=b; key="c d"; z`}},
			want: `{"req":{"userId":"7","key":"c d","amount":1,"tries":3,"currency":"EUR"}}`,
		},
		"maps": {
			line: "POST /users/7/charges", body: `{"amount": 1, "notes": {"5": "five", "-1": ""}, "weights": {"USD": 1, "978": 2, "5": 3}, "flags": [{"key": {"trace": "x", "parent": {}}, "value": true}]}`,
			want: `{"req":{"userId":"7","amount":1,"notes":{"5":"five","-1":""},"weights":{"USD":1,"EUR":2,"5":3},"flags":[{"key":{"trace":"x","parent":{}},"value":true}],"tries":3,"currency":"EUR"}}`,
		},
		"strings": {
			line: "POST /users/7/charges", body: `{"amount": 1, "far": "\u00fc\ud83d\ude00\/\"\n\ud800", "blob": "_-8", "meta": {"at": "12"}}`,
			want: `{"req":{"userId":"7","amount":1,"far":"ü😀/\"\n` + "\uFFFD" + `","blob":"/+8=","meta":{"at":"12"},"tries":3,"currency":"EUR"}}`,
		},
		"GET by query":       {line: "GET /users/7/charges?limit=5&only=USD&only=978", want: `{"userId":"7","limit":5,"only":["USD","EUR"]}`},
		"a literal segment":  {line: "GET /users/latest/charges?deep=1", want: `{"deep":true}`},
		"the rest of a path": {line: "GET /pages/a/b%2Fc", want: `{"path":"a/b/c"}`},
		"HEAD is GET":        {line: "HEAD /pages/a", want: `{"path":"a"}`},
		"bytes":              {line: "PUT /files/f", body: "\x00\xff", head: fields{"Content-Type": {"image/png"}}, want: `{"name":"f","data":"AP8="}`},
		"a union":            {line: "POST /check", body: `{"number": 3}`, want: `{"either":{"number":3}}`},
		"no argument":        {line: "DELETE /all", want: `{}`},

		"required":                 {line: "POST /users/7/charges", refusal: "In the request, /amount is required and not there.", status: 400},
		"null and required":        {line: "POST /users/7/charges", body: `{"amount": null}`, refusal: "In the request, /amount is required and not there.", status: 400},
		"twice":                    {line: "POST /users/7/charges", body: `{"amount": 1, "amount": 2}`, refusal: "In the body, /amount is given twice.", status: 400},
		"another type":             {line: "POST /users/7/charges", body: `{"meta": {"parent": {"trace": 5}}}`, refusal: "In the body, /meta/parent/trace is a number, not a string.", status: 400},
		"an element":               {line: "POST /users/7/charges", body: `{"tags": [1, 2147483648]}`, refusal: `In the body, /tags/1 is "2147483648", outside of -2147483648 to 2147483647.`, status: 400},
		"a fraction":               {line: "POST /users/7/charges", body: `{"amount": 1.5}`, refusal: `In the body, /amount is "1.5", not an integer of 64 bits.`, status: 400},
		"no enum":                  {line: "POST /users/7/charges", body: `{"currency": "GBP"}`, refusal: `In the body, /currency is "GBP", no value of the enum Currency.`, status: 400},
		"no base64":                {line: "POST /users/7/charges", body: `{"blob": "a"}`, refusal: "In the body, /blob is not base64.", status: 400},
		"a map's key":              {line: "POST /users/7/charges", body: `{"notes": {"x": ""}}`, refusal: `In the body, /notes/x is "x", not an integer of 32 bits.`, status: 400},
		"a query's value":          {line: "POST /users/7/charges?urgent=maybe", refusal: `Parameter urgent of the query is "maybe", not true or false.`, status: 400},
		"a query twice":            {line: "POST /users/7/charges?urgent=true&urgent=false", refusal: "Parameter urgent of the query is given twice.", status: 400},
		"a broken query":           {line: "GET /users/7/charges?limit=%zz", refusal: "Parameter limit of the query has a broken percent escape.", status: 400},
		"two headers":              {line: "POST /users/7/charges", head: fields{"Idempotency-Key": {"a", "b"}}, refusal: "Header idempotency-key is given twice.", status: 400},
		"no JSON":                  {line: "POST /users/7/charges", body: `{"amount": 01}`, refusal: `In the body, the JSON is not well formed at line 1, column 12: it has "01" where a value ought to be.`, status: 400},
		"something after it":       {line: "POST /users/7/charges", body: `{} {}`, refusal: `In the body, the JSON is not well formed at line 1, column 4: it has "{" where the end ought to be.`, status: 400},
		"an array":                 {line: "POST /users/7/charges", body: `[]`, refusal: "The body is an array, not an object.", status: 400},
		"not UTF-8":                {line: "POST /users/7/charges", body: "{\"far\": \"\xff\"}", refusal: "In the body, the JSON is not well formed at line 1, column 12: a string is not UTF-8.", status: 400},
		"deep and unknown":         {line: "POST /users/7/charges", body: `{"x": ` + strings.Repeat("[", 100_000), refusal: "In the body, it nests deeper than 64 levels.", status: 400},
		"deep and known":           {line: "POST /users/7/charges", body: `{"meta": ` + strings.Repeat(`{"parent":`, 100_000), refusal: "In the body, it nests deeper than 64 levels.", status: 400},
		"a form":                   {line: "POST /users/7/charges", body: "amount=1", head: fields{"Content-Type": {"application/x-www-form-urlencoded"}}, refusal: `The body is "application/x-www-form-urlencoded"; it ought to be application/json.`, status: 415},
		"a union with two":         {line: "POST /check", body: `{"number": 3, "text": ""}`, refusal: "The request is the union Either, which has exactly one member.", status: 400},
		"a union within with none": {line: "POST /users/7/charges", body: `{"either": {}}`, refusal: "In the body, /either is the union Either, which has exactly one member.", status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			route, call, err := request(t, table, test.line, test.body, test.head)
			if test.refusal != "" {
				var r *Refusal
				if !errors.As(err, &r) || r.Detail != test.refusal || r.Status != test.status {
					t.Errorf("refused with %v, want %s", err, test.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := arguments(t, route.Method, call); got != test.want {
				t.Errorf("arguments\n%s, want\n%s", got, test.want)
			}
		})
	}
}

// arguments reads a call of binary protocol.
func arguments(t testing.TB, m *Method, call []byte) string {
	t.Helper()
	head := appendHead(nil, Binary, m, 1)
	if !bytes.HasPrefix(call, head) {
		t.Fatalf("call %x does not begin with %x", call, head)
	}
	d := decoder{in: call, pos: len(head), max: DefaultResponse}
	if err := d.object(m.arguments, nil); err != nil || d.left() > 0 {
		t.Fatalf("call %x: %v, %d bytes left", call, err, d.left())
	}
	return string(d.out)
}

func TestFind(t *testing.T) {
	table := shop(t)
	for line, want := range map[string]struct {
		template string
		allow    []string
	}{
		"GET /users/latest/charges":  {"/users/latest/charges", nil},
		"POST /users/latest/charges": {"", []string{"GET"}},
		"GET /users/x/charges":       {"/users/{userId}/charges", nil},
		"PATCH /users/x/charges":     {"", []string{"GET", "POST"}},
		"GET /users/x/other":         {"", nil},
		"GET /":                      {"", nil},
		"GET /pages/a/b/c":           {"/pages/{path...}", nil},
		"GET /pages/%zz":             {"", nil},
	} {
		method, path, _ := strings.Cut(line, " ")
		m := table.Find([]byte(method), []byte(path))
		got := ""
		if m.Route != nil {
			got = m.Route.Template
		}
		if got != want.template || !cmp.Equal(m.Allow, want.allow) {
			t.Errorf("%s: %q %v, want %q %v", line, got, m.Allow, want.template, want.allow)
		}
	}
}

func TestResponse(t *testing.T) {
	table := shop(t)
	reply := func(name string, fields string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(fields, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		head := append([]byte{0x80, 1, 0, 2, 0, 0, 0, byte(len(name))}, name...)
		return append(append(head, 0, 0, 0, 1), b...)
	}
	type response struct {
		Status int
		Header string
		Body   string
	}
	for name, test := range map[string]struct {
		line, method, fields string
		want                 response
		refusal              string
	}{
		"fields elsewhere": {
			line: "POST /users/7/charges", method: "charge",
			fields: "0c0000 0b0001 00000002 7231 080002 000000c9 0b0003 00000003 612062 0b0004 00000001 ff 0b0007 00000001 78 00 00",
			want:   response{201, "X-Receipt: r1; set-cookie: sid=a%20b; content-type: application/json", `{"blob":"/w==","names":{"1":"one"}}`},
		},
		"raw bytes": {
			line: "GET /pages/x", method: "page", fields: "0c0000 0b0001 00000002 3c3e 0b0002 00000009 746578742f68746d6c 00 00",
			want: response{200, "Content-Type: text/html", "<>"},
		},
		"void": {line: "DELETE /all", method: "clear", fields: "00", want: response{204, "", ""}},
		"a declared exception with a status": {
			line: "POST /users/7/charges", method: "charge", fields: "0c0001 0b0001 00000002 6e6f 080002 00000199 00 00",
			want: response{409, "content-type: application/problem+json", `{"type":"https://weir.dev/problems/thrift-exception","title":"Denied","status":409,"detail":"no","exception":{"message":"no","code":409}}` + "\n"},
		},
		"a declared exception": {
			line: "POST /users/7/charges", method: "charge", fields: "0c0001 080002 00000001 00 00",
			want: response{403, "content-type: application/problem+json", `{"type":"https://weir.dev/problems/thrift-exception","title":"Denied","status":403,"exception":{"code":1}}` + "\n"},
		},
		"what the IDL does not know": {
			line: "POST /check", method: "check", fields: "0f0009 0c 00000002 0b0001 00000001 61 00 00 020000 01 00", want: response{200, "content-type: application/json", "true"},
		},
		"a split header": {
			line: "POST /users/7/charges", method: "charge", fields: "0c0000 0b0001 00000002 0d0a 0b0004 00000000 00 00",
			refusal: "The application's reply cannot be read: /id has characters that no header may have.",
		},
		"required": {line: "POST /users/7/charges", method: "charge", fields: "0c0000 00 00", refusal: "The application's reply cannot be read: /blob is required and not there."},
		"nothing":  {line: "POST /check", method: "check", fields: "00", refusal: "The application's reply cannot be read: it has neither a result nor an exception that the IDL declares."},
		"cut":      {line: "POST /check", method: "check", fields: "020000", refusal: "The application's reply cannot be read: it ends too early."},
		"a tail":   {line: "POST /check", method: "check", fields: "020000 01 00 00", refusal: "The application's reply cannot be read: something follows its end."},
		"a list that claims much": {
			line: "GET /users/7/charges", method: "recent", fields: "0f0000 0c 7fffffff 00", refusal: "The application's reply cannot be read: it ends too early.",
		},
		"another method": {line: "POST /check", method: "other", fields: "00", refusal: `The application's reply cannot be read: it is one of another method, "other".`},
	} {
		t.Run(name, func(t *testing.T) {
			method, path, _ := strings.Cut(test.line, " ")
			m := table.Find([]byte(method), []byte(path))
			got, err := m.Route.Response(reply(test.method, test.fields), 1)
			if test.refusal != "" {
				var r *Refusal
				if !errors.As(err, &r) || r.Detail != test.refusal || r.Status != 502 {
					t.Errorf("refused with %v, want %s", err, test.refusal)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var head []string
			for _, f := range got.Header {
				head = append(head, string(f.Name)+": "+string(f.Value))
			}
			if diff := cmp.Diff(test.want, response{got.Status, strings.Join(head, "; "), string(got.Body)}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestApplicationExceptions(t *testing.T) {
	table := shop(t)
	route := table.Find([]byte("DELETE"), []byte("/all")).Route
	for _, code := range []byte{1, 6} {
		b := append([]byte{0x80, 1, 0, 3, 0, 0, 0, 5}, "clear"...)
		b = append(b, 0, 0, 0, 1, 11, 0, 1, 0, 0, 0, 2, 'n', 'o', 8, 0, 2, 0, 0, 0, code, 0)
		_, err := route.Response(b, 1)
		var r *Refusal
		if !errors.As(err, &r) {
			t.Fatalf("code %d: %v", code, err)
		}
		status, detail := 502, "The application failed in clear with TApplicationException 6: no"
		if code == 1 {
			status, detail = 404, "The application does not have the method clear."
		}
		if r.Status != status || r.Detail != detail {
			t.Errorf("code %d: %d %s, want %d %s", code, r.Status, r.Detail, status, detail)
		}
	}
}
