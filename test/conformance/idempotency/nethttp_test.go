// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestNetHTTP: Go's client sends a request with the key again by itself when the
// connection that it used before breaks. That is no second order.
func TestNetHTTP(t *testing.T) {
	for _, point := range []string{"client/request", "client/response"} {
		t.Run(point, func(t *testing.T) {
			o := startOrders(t)
			f := startWeir(t, policy, strings.TrimPrefix(o.URL, "http://"))
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for _, key := range []string{"before", "cut"} {
				if key == "cut" {
					f.cuts.next(point)
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.address+"/api", strings.NewReader(foo))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Idempotency-Key", key)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatalf("%s: %v", key, err)
				}
				text, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), "success") {
					t.Fatalf("%s: %d %s %v", key, resp.StatusCode, text, err)
				}
				if want := key == "cut" && point == "client/response"; (resp.Header.Get("Idempotent-Replayed") == "true") != want {
					t.Errorf("%s: the answer has %v", key, resp.Header)
				}
			}
			if f.cuts.at.Load() != nil {
				t.Error("nothing was cut")
			}
			if got := o.count(); got != 2 {
				t.Errorf("%d orders of 2 requests", got)
			}
		})
	}
}
