// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// keys counts how often each key comes.
func keys(t *testing.T) (Request, func() map[string]int) {
	var mu sync.Mutex
	seen := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return // the load has ended
		}
		mu.Lock()
		defer mu.Unlock()
		if string(b) != `{"a":"\"\\"}` {
			t.Errorf("body %q", b)
		}
		seen[r.Header.Get("K")]++
	}))
	t.Cleanup(s.Close)
	r := Request{Method: "POST", URL: s.URL + "/", Header: "X-Client-Id: a", Text: `{"a":"\"\\"}`, Key: Key{Name: "K", Prefix: "p-"}}
	return r, func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(seen)
	}
}

func TestEach(t *testing.T) {
	r, seen := keys(t)
	if err := Each(t.Context(), r, 4, 300); err != nil {
		t.Fatal(err)
	}
	got := seen()
	if len(got) != 300 || got["p-0000000000"] != 1 || got["p-0000000299"] != 1 {
		t.Errorf("%d keys, not 300 from p-0000000000 to p-0000000299", len(got))
	}
	r.Key.Count = 10
	if err := Each(t.Context(), r, 4, 300); err != nil {
		t.Fatal(err)
	}
	if n := seen()["p-0000000009"]; n != 31 {
		t.Errorf("of 10 keys, one came %d times", n)
	}
}

func TestEachFails(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(answer))
	defer s.Close()
	if err := Each(t.Context(), Request{Method: "GET", URL: s.URL + "/", Header: "X-Client-Id: denied"}, 4, 10); err == nil {
		t.Error("no error where requests are denied")
	}
}

func TestWrkKeys(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Skip("wrk is not installed")
	}
	for name, count := range map[string]int64{"each another": 0, "of ten": 10} {
		t.Run(name, func(t *testing.T) {
			r, seen := keys(t)
			r.Key.Count = count
			res, err := Wrk(t.Context(), t.TempDir(), r, 2, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			got := seen()
			for k, n := range got {
				if count == 0 && n > 1 {
					t.Errorf("%s came %d times", k, n)
				}
			}
			least := res.Requests
			if count > 0 {
				least = min(least, count)
			}
			if n := int64(len(got)); n < least || count > 0 && n > count || res.NotOK > 0 {
				t.Errorf("%d keys for %+v", n, res)
			}
		})
	}
}
