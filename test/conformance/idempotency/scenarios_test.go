// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// orders is an application that makes an order of each request that may change
// something.
type orders struct {
	*httptest.Server
	mu   sync.Mutex
	made int
	// held: answers wait until it is closed.
	held    chan struct{}
	arrived chan struct{}
}

func startOrders(t *testing.T) *orders {
	o := &orders{arrived: make(chan struct{}, 16)}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		o.mu.Lock()
		if r.Method != http.MethodGet {
			o.made++
		}
		n, held := o.made, o.held
		o.mu.Unlock()
		o.arrived <- struct{}{}
		if held != nil {
			<-held
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"success":true,"order":%d}`, n)
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *orders) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.made
}

// call is one request of a scenario and what becomes of it.
type call struct {
	method, key, body string
	// keyed: it has the field, be it empty.
	keyed bool
	// want is Weir's status, theirs the specification's where it is another.
	want, theirs int
	// problem is the last part of a problem's type.
	problem  string
	replayed bool
}

func post(key, body string, want int) call {
	return call{method: http.MethodPost, key: key, keyed: true, body: body, want: want}
}

func (c call) again() call { c.replayed = true; return c }

func (c call) refused(problem string) call { c.problem = problem; return c }

func (c call) not(status int) call { c.theirs = status; return c }

// scenario is one or several of the specification, by what they are about.
type scenario struct {
	// of is how many of its scenarios say this.
	of    int
	calls []call
	// orders there are afterwards; records of them.
	orders, records int
	// differs is where Weir does, see docs/conformance.md.
	differs string
}

// Bodies of the specification: two that differ.
const foo, baz = `{"foo":"bar"}`, `{"baz":"qux"}`

func scenarios() map[string]scenario {
	const key, other = "abc123456789012345678", "key2-12345678901234567"
	named := "its type names Weir's problem, not the draft's section"
	return map[string]scenario{
		"no key": {of: 2, differs: named, calls: []call{
			{method: http.MethodPost, body: foo, want: 400, problem: "idempotency-key-missing"},
		}},
		"an empty key":                {of: 1, differs: named, calls: []call{post("", foo, 400).refused("idempotency-key-missing")}},
		"a key of 256 characters":     {of: 1, differs: named, calls: []call{post(strings.Repeat("k", 256), foo, 400).refused("idempotency-key-invalid")}},
		"a key with commas":           {of: 1, differs: named, calls: []call{post("key,with,commas,longer-than-20", foo, 400).refused("idempotency-key-invalid")}},
		"a UUID":                      {of: 1, calls: []call{post("8e03978e-40d5-43e8-bc93-6894a57f9324", foo, 200)}, orders: 1, records: 1},
		"a first request":             {of: 5, calls: []call{post(key, foo, 200)}, orders: 1, records: 1},
		"a repetition":                {of: 4, calls: []call{post(key, foo, 200), post(key, foo, 200).again()}, orders: 1, records: 1, differs: "the field is Idempotent-Replayed"},
		"several repetitions":         {of: 1, calls: []call{post(key, foo, 200), post(key, foo, 200).again(), post(key, foo, 200).again(), post(key, foo, 200).again()}, orders: 1, records: 1},
		"another key, the same body":  {of: 4, calls: []call{post(key, foo, 200), post(other, foo, 200).not(409)}, orders: 2, records: 2, differs: "two keys are two requests"},
		"the same key, another body":  {of: 3, differs: named, calls: []call{post(key, foo, 200), post(key, baz, 422).refused("idempotency-key-reused")}, orders: 1, records: 1},
		"GET":                         {of: 1, calls: []call{{method: http.MethodGet, key: key, keyed: true, want: 200}}},
		"PUT, which is not matched":   {of: 1, calls: []call{{method: http.MethodPut, key: key, keyed: true, body: foo, want: 200}}, orders: 1},
		"DELETE, which is not either": {of: 1, calls: []call{{method: http.MethodDelete, key: key, keyed: true, want: 200}}, orders: 1},
		"no body":                     {of: 1, calls: []call{post(key, "", 200)}, orders: 1, records: 1},
		"PATCH":                       {of: 1, calls: []call{{method: http.MethodPatch, key: key, keyed: true, body: foo, want: 200}}, orders: 1, records: 1},
	}
}

// inProgress are two scenarios of their own: TestInProgress.
const inProgress, published = 2, 30

// TestScenarios goes through the specification.
func TestScenarios(t *testing.T) {
	total := inProgress
	o := startOrders(t)
	f := startWeir(t, policy, strings.TrimPrefix(o.URL, "http://"))
	for name, s := range scenarios() {
		total += s.of
		t.Run(name, func(t *testing.T) {
			// Nobody has used its keys.
			scope := strings.NewReplacer(" ", "-", ",", "").Replace(name)
			before, records := o.count(), f.records(t)
			for n, c := range s.calls {
				if c.theirs != 0 && s.differs == "" {
					t.Error("it differs, and nothing says why")
				}
				c.check(t, f, n, scope)
			}
			if got := o.count() - before; got != s.orders {
				t.Errorf("%d orders, want %d", got, s.orders)
			}
			if got := f.records(t) - records; got != s.records {
				t.Errorf("%d records, want %d", got, s.records)
			}
		})
	}
	if total != published {
		t.Errorf("%d scenarios, the specification has %d", total, published)
	}
}

// records is how many the store has.
func (f *front) records(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(f.redis.Ask("DBSIZE")), ":"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (c call) send(t *testing.T, f *front, path string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+f.address+"/"+path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.keyed {
		req.Header["Idempotency-Key"] = []string{c.key}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func (c call) check(t *testing.T, f *front, n int, path string) {
	t.Helper()
	if len(c.key) > 0 && len(c.key) < 200 {
		c.key += "-" + path
	}
	resp, text := c.send(t, f, "api")
	if resp.StatusCode != c.want {
		t.Errorf("call %d: %d %s, want %d", n, resp.StatusCode, text, c.want)
	}
	if got := resp.Header.Get("Idempotent-Replayed") == "true"; got != c.replayed {
		t.Errorf("call %d: replayed %v", n, got)
	}
	if c.problem == "" {
		if !strings.Contains(text, "success") {
			t.Errorf("call %d: %s", n, text)
		}
		return
	}
	var p struct{ Type, Title, Detail string }
	if err := json.Unmarshal([]byte(text), &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("call %d: %s: %s", n, resp.Header.Get("Content-Type"), text)
	}
	if !strings.HasSuffix(p.Type, "/"+c.problem) || p.Title == "" || p.Detail == "" {
		t.Errorf("call %d: the problem is %+v, want %s", n, p, c.problem)
	}
}

// TestInProgress: a repetition is refused while the first request is being executed.
func TestInProgress(t *testing.T) {
	o := startOrders(t)
	o.held = make(chan struct{})
	f := startWeir(t, policy, strings.TrimPrefix(o.URL, "http://"))
	first := make(chan int)
	go func() {
		defer close(first)
		resp, _ := post("k", foo, 200).send(t, f, "api")
		first <- resp.StatusCode
	}()
	<-o.arrived
	post("k", foo, 409).refused("idempotency-in-progress").checkHeld(t, f)
	close(o.held)
	if got := <-first; got != 200 || o.count() != 1 {
		t.Errorf("the first got %d, %d orders", got, o.count())
	}
}

func (c call) checkHeld(t *testing.T, f *front) {
	t.Helper()
	resp, text := c.send(t, f, "api")
	if resp.StatusCode != c.want || !strings.Contains(text, c.problem) || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s, want %d", resp.StatusCode, resp.Header, text, c.want)
	}
}
