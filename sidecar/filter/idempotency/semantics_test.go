// SPDX-License-Identifier: Apache-2.0

package idempotency_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
)

func pointer(s string) *snapshot.ContentSource {
	return &snapshot.ContentSource{Kind: &snapshot.ContentSource_JsonPointer{JsonPointer: s}}
}

func fromBody(p *snapshot.IdempotencyPolicy) {
	p.KeySources = append(p.KeySources, pointer("/key"))
}

func reject(p *snapshot.IdempotencyPolicy) {
	p.OnMissingKey = snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_REJECT
}

func derive(p *snapshot.IdempotencyPolicy) {
	p.OnMissingKey = snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE
	p.DeriveFrom, p.DeriveWindow = []*snapshot.ContentSource{pointer("/order")}, 120_000
}

// TestPairs: what becomes of two requests, one after the other.
func TestPairs(t *testing.T) {
	type request struct {
		method, path, key, body string
		fields                  []string
	}
	pay := func(key, body string, fields ...string) request { return request{"POST", "/pay", key, body, fields} }
	const executed, again = "201 executed", "201 replayed again"
	for name, tc := range map[string]struct {
		policy    func(*snapshot.IdempotencyPolicy)
		one, two  request
		want      string
		wantAgain string
		executed  int32
	}{
		"the same":                      {nil, pay("k", body), pay("k", body), executed, again, 1},
		"another key":                   {nil, pay("k", body), pay("l", body), executed, executed, 2},
		"quoted and bare":               {nil, pay(`"k"`, body), pay("k", body), executed, again, 1},
		"JSON spelt otherwise":          {nil, pay("k", `{"a":1,"b":2}`), pay("k", `{ "b": 2, "a": 1 }`), executed, again, 1},
		"another body":                  {nil, pay("k", `{"a":1}`), pay("k", `{"a":2}`), executed, "422 idempotency-key-reused", 1},
		"another path":                  {nil, pay("k", body), request{"POST", "/refund", "k", body, nil}, executed, "422 idempotency-key-reused", 1},
		"another query":                 {nil, pay("k", body), request{"POST", "/pay?a", "k", body, nil}, executed, "422 idempotency-key-reused", 1},
		"another method":                {nil, pay("k", body), request{"PUT", "/pay", "k", body, nil}, executed, "422 idempotency-key-reused", 1},
		"only the path counts":          {func(p *snapshot.IdempotencyPolicy) { p.Fingerprint = &snapshot.Fingerprint{Path: true} }, pay("k", `{"a":1}`), request{"PUT", "/pay?a", "k", "{}", nil}, executed, again, 1},
		"an excluded part":              {func(p *snapshot.IdempotencyPolicy) { p.Fingerprint.ExcludeJsonPointers = []string{"/sentAt"} }, pay("k", `{"a":1,"sentAt":1}`), pay("k", `{"a":1,"sentAt":2}`), executed, again, 1},
		"another body, warned":          {func(p *snapshot.IdempotencyPolicy) { p.Fingerprint.Warn = true }, pay("k", `{"a":1}`), pay("k", `{"a":2}`), executed, "201 replayed; mismatch again", 1},
		"another client":                {nil, pay("k", body), pay("k", body, "X-Client-Id", "other"), executed, executed, 2},
		"whose key is not said":         {nil, pay("k", body, "X-Client-Id", ""), pay("k", body, "X-Client-Id", ""), "201 ignored", "201 ignored", 2},
		"whose key is not said, Reject": {reject, pay("k", body, "X-Client-Id", ""), pay("k", body), "400 idempotency-key-missing", executed, 1},
		"other credentials":             {nil, pay("k", body, "Authorization", "Bearer a"), pay("k", body, "Authorization", "Bearer b"), executed, "409 idempotency-credentials-differ", 1},
		"credentials first, then none":  {nil, pay("k", body, "Authorization", "Bearer a"), pay("k", body), executed, "409 idempotency-credentials-differ", 1},
		"the same credentials":          {nil, pay("k", body, "Authorization", "Bearer a"), pay("k", body, "Authorization", "Bearer a"), executed, again, 1},
		"no key":                        {nil, pay("", body), pay("", body), "201 ignored", "201 ignored", 2},
		"no key, Reject":                {reject, pay("", body), pay("k", body), "400 idempotency-key-missing", executed, 1},
		"a key that is none":            {nil, pay("a b", body), pay(`"a`, body), "400 idempotency-key-invalid", "400 idempotency-key-invalid", 0},
		"a key too long":                {nil, pay(strings.Repeat("k", 256), body), pay(strings.Repeat("k", 255), body), "400 idempotency-key-invalid", executed, 1},
		"a key in the body":             {fromBody, pay("", `{"key":"k","a":1}`), pay("", `{"a":1,"key":"k"}`), executed, again, 1},
		"the header comes first":        {fromBody, pay("k", `{"key":"x"}`), pay("l", `{"key":"x"}`), executed, executed, 2},
		"header and body name one key":  {func(p *snapshot.IdempotencyPolicy) { fromBody(p); p.Fingerprint.Body = false }, pay("k", `{}`), pay("", `{"key":"k"}`), executed, again, 1},
		"no key in the body":            {fromBody, pay("", `{"a":1}`), pay("", `not JSON`), "201 ignored", "201 ignored", 2},
		"no key in the body, Reject":    {func(p *snapshot.IdempotencyPolicy) { fromBody(p); reject(p) }, pay("", `{"a":1}`), pay("", `{"key":"k"}`), "400 idempotency-key-missing", executed, 1},
		"an array for a key":            {fromBody, pay("", `{"key":[1]}`), pay("", `{"key":"a","key":"b"}`), "400 idempotency-key-invalid", "400 idempotency-key-invalid", 0},
		"derived":                       {derive, pay("", `{"order":7,"a":1}`), pay("", `{"a":1,"order":7}`), executed, again, 1},
		"derived of an object":          {derive, pay("", `{"order":{"a":1,"b":2}}`), pay("", `{"order":{"b":2,"a":1}}`), executed, again, 1},
		"derived, another":              {derive, pay("", `{"order":7}`), pay("", `{"order":8}`), executed, executed, 2},
		"derived, spelt as a string":    {derive, pay("", `{"order":7}`), pay("", `{"order":"7"}`), executed, "422 idempotency-key-reused", 1},
		"nothing to derive from":        {derive, pay("", `{}`), pay("", `{}`), "201 ignored", "201 ignored", 2},
		"a key and one derived":         {derive, pay("k", `{"order":7}`), pay("", `{"order":7}`), executed, executed, 2},
		"a safe method":                 {nil, request{"GET", "/pay", "k", "", nil}, request{"GET", "/pay", "k", "", nil}, "201 ignored", "201 ignored", 2},
		"not matched": {func(p *snapshot.IdempotencyPolicy) {
			p.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Methods: []string{"PATCH"}}}}}
		}, pay("k", body), pay("k", body), "201", "201", 2},
		"too large, Reject":     {nil, pay("k", strings.Repeat("x", 65<<10)), pay("k", body), "413 idempotency-body-too-large", executed, 1},
		"too large, Pass":       {func(p *snapshot.IdempotencyPolicy) { p.PassOversize = true }, pay("k", strings.Repeat("x", 65<<10)), pay("k", strings.Repeat("x", 65<<10)), "201 ignored", "201 ignored", 2},
		"large, and not needed": {func(p *snapshot.IdempotencyPolicy) { p.Fingerprint.Body = false }, pay("k", strings.Repeat("x", 65<<10)), pay("k", body), executed, again, 1},
		"boundaries": {nil, pay("k", "--A\r\n\r\nx\r\n--A--\r\n", "Content-Type", "multipart/form-data; boundary=A"),
			pay("k", "--B\r\n\r\nx\r\n--B--\r\n", "Content-Type", "multipart/form-data; boundary=B"), executed, again, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := policy()
			if tc.policy != nil {
				tc.policy(p)
			}
			w := newWorld(t, p)
			for i, req := range []request{tc.one, tc.two} {
				r, err := w.do(w.request(req.method, req.path, req.key, req.body, req.fields...))
				if err != nil {
					t.Fatal(err)
				}
				want := tc.want
				if i == 1 {
					want = tc.wantAgain
				}
				w.want(r, want)
				if strings.Contains(want, "again") && (r.Body != "paid 1" || r.Header.Get("Location") != "/payments/1") {
					t.Errorf("replayed: %v %q", r.Header, r.Body)
				}
			}
			w.wantExecuted(tc.executed)
		})
	}
}

// TestTwice: a field that is sent twice names two keys, or two clients.
func TestTwice(t *testing.T) {
	for _, field := range []string{"idempotency-key", "X-Client-Id"} {
		w := newWorld(t, policy())
		r := w.request("POST", "/pay", "k", body)
		r.Header[field] = []string{"a", "a"}
		got, err := w.do(r)
		if err != nil {
			t.Fatal(err)
		}
		w.want(got, "400 idempotency-key-invalid")
		w.wantExecuted(0)
	}
}

// TestReplayIsTheResponse: byte for byte, but for what belongs to one message or client.
func TestReplayIsTheResponse(t *testing.T) {
	p := policy()
	p.DenyHeaders = []string{"x-secret"}
	w := newWorld(t, p)
	w.answer(func(rw http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{
			"X-Kept": "a  b", "ETag": `"1"`, "Location": "/1", "Content-Type": "text/plain; charset=utf-8", "Content-Language": "en", "Cache-Control": "no-store",
			"Set-Cookie": "a=b", "WWW-Authenticate": "Basic", "RateLimit": `"a";r=1`, "X-RateLimit-Limit": "5", "Traceparent": "00-0-0-01", "X-Secret": "s",
			"Idempotent-Replayed": "true", "Idempotency-Status": "replayed", "Date": "Mon, 01 Jan 2001 00:00:00 GMT",
		} {
			rw.Header().Set(name, value)
		}
		rw.Header().Add("X-Many", "1")
		rw.Header().Add("X-Many", "2")
		rw.WriteHeader(http.StatusAccepted)
		_, _ = rw.Write([]byte("\x00\xff body"))
	})
	first, second := w.post("k", body), w.post("k", body)
	if got := first.Header["Idempotency-Status"]; !cmp.Equal(got, []string{"executed"}) || first.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("first: %v", first.Header)
	}
	if first.Body != second.Body || first.Status != second.Status {
		t.Errorf("first %d %q, then %d %q", first.Status, first.Body, second.Status, second.Body)
	}
	want := http.Header{
		"X-Kept": {"a  b"}, "Etag": {`"1"`}, "Location": {"/1"}, "Content-Type": {"text/plain; charset=utf-8"}, "Content-Language": {"en"}, "Cache-Control": {"no-store"},
		"X-Many": {"1", "2"}, "Content-Length": {"7"}, "Idempotency-Status": {"replayed"}, "Idempotent-Replayed": {"true"},
	}
	if diff := cmp.Diff(want, second.Header); diff != "" {
		t.Errorf("replayed header (-want +got):\n%s", diff)
	}
}

// TestApplicationFields: the application learns what it needs to be exactly-once, and
// nothing of that from anybody but Weir.
func TestApplicationFields(t *testing.T) {
	w := newWorld(t, policy())
	got := make(chan http.Header, 1)
	w.answer(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header })
	forged := []string{"Weir-Idempotency-Id", "forged", "Weir_idempotency_fence", "forged", "weir-idempotency-attempt", "forged", "Weir-Delivery", "forged"}
	w.post("k", body, forged...)
	h := <-got
	if h.Get("Idempotency-Key") != "k" || len(h.Get("Weir-Idempotency-Id")) != 32 || h.Get("Weir-Idempotency-Fence") == "" || h.Get("Weir-Idempotency-Attempt") != "1" {
		t.Errorf("recorded: %v", h)
	}
	for _, k := range []string{"k", ""} {
		method := "GET"
		if k == "" {
			method = "POST"
		}
		if _, err := w.do(w.request(method, "/pay", k, "", forged...)); err != nil {
			t.Fatal(err)
		}
		if h := <-got; strings.Contains(fmt.Sprint(h), "forged") {
			t.Errorf("%s: %v", method, h)
		}
	}
	w.restart(func() *snapshot.IdempotencyPolicy {
		p := policy()
		p.Match = []*snapshot.Match{{Kind: &snapshot.Match_Http{Http: &snapshot.HTTPMatch{Methods: []string{"PATCH"}}}}}
		return p
	}())
	w.post("k", body, forged...)
	if h := <-got; strings.Contains(fmt.Sprint(h), "forged") {
		t.Errorf("not matched: %v", h)
	}
}

// TestDuplicatesWait: who comes while the request is in progress gets its response, or is
// told to come again; another request is refused at once.
func TestDuplicatesWait(t *testing.T) {
	p := policy()
	w := newWorld(t, p)
	executing, goOn := make(chan struct{}), make(chan struct{})
	w.answer(func(rw http.ResponseWriter, _ *http.Request) {
		close(executing)
		<-goOn
		_, _ = fmt.Fprint(rw, "done")
	})
	replies := make(chan reply, 9)
	go func() { replies <- w.post("k", body) }()
	<-executing
	w.want(w.post("k", `{"amount":8}`), "422 idempotency-key-reused")
	impatient := policy()
	impatient.Wait = 0
	other := newWorld(t, impatient)
	other.use(w.compile(impatient))
	r := other.post("k", body)
	other.want(r, "409 idempotency-in-progress")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for range 8 {
		go func() { replies <- w.post("k", body) }()
	}
	close(goOn)
	got := map[string]int{}
	for range 9 {
		r := <-replies
		if r.Body != "done" {
			t.Errorf("%s: %s", r.outcome(), r.Body)
		}
		got[strings.Replace(r.outcome(), "joined", "replayed", 1)]++
	}
	if diff := cmp.Diff(map[string]int{"200 executed": 1, "200 replayed again": 8}, got); diff != "" {
		t.Error(diff)
	}
	w.wantExecuted(1)
}

// TestNoUploadForNothing: what the head tells is told before the body is sent.
func TestNoUploadForNothing(t *testing.T) {
	p := policy()
	reject(p)
	w := newWorld(t, p)
	for name, tc := range map[string]struct{ field, want string }{
		"no key":           {"", "HTTP/1.1 400 Bad Request"},
		"a long key":       {"Idempotency-Key: " + strings.Repeat("k", 300) + "\r\n", "HTTP/1.1 400 Bad Request"},
		"a key that is ok": {"Idempotency-Key: k\r\n", "HTTP/1.1 100 Continue"},
	} {
		c, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(soon))
		_, _ = fmt.Fprintf(c, "POST /pay HTTP/1.1\r\nHost: a\r\nX-Client-Id: acme\r\nContent-Length: 5\r\nExpect: 100-continue\r\n%s\r\n", tc.field)
		line, err := bufio.NewReader(c).ReadString('\n')
		if strings.TrimSpace(line) != tc.want {
			t.Errorf("%s: %q, %v", name, line, err)
		}
		_ = c.Close()
	}
	w.wantExecuted(0)
}

// TestCodings: a recorded gzip is decoded for who does not take it.
func TestCodings(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("plain"))
	_ = z.Close()
	for name, tc := range map[string]struct {
		coding, control, accept string
		decoded                 bool
	}{
		"asked for":           {"gzip", "", "br, gzip;q=0.5", false},
		"anything":            {"gzip", "", "*", false},
		"refused":             {"gzip", "", "gzip;q=0, *", true},
		"not asked for":       {"gzip", "", "br", true},
		"nothing said":        {"gzip", "", "", true},
		"not to be changed":   {"gzip", "private, no-transform", "", false},
		"another coding":      {"br", "", "", false},
		"not what it says":    {"gzip, gzip", "", "", false},
		"identity asked for":  {"gzip", "", "identity", true},
		"an older name":       {"x-gzip", "", "x-gzip", false},
		"everything refused":  {"gzip", "", "*;q=0", true},
		"a weight of nothing": {"gzip", "", "gzip;q=0.000", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, policy())
			w.answer(func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Encoding", tc.coding)
				rw.Header().Set("ETag", `"packed"`)
				if tc.control != "" {
					rw.Header().Set("Cache-Control", tc.control)
				}
				_, _ = rw.Write(packed.Bytes())
			})
			w.post("k", body, "Accept-Encoding", "gzip")
			r := w.post("k", body, "Accept-Encoding", tc.accept)
			want := packed.String()
			if tc.decoded {
				want = "plain"
			}
			if r.Body != want || (r.Header.Get("Content-Encoding") == "") != tc.decoded || (r.Header.Get("ETag") == "") != tc.decoded {
				t.Errorf("%q %v", r.Body, r.Header)
			}
		})
	}
}
