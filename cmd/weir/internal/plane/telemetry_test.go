// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir.dev/weir/api/snapshot"
)

// The access log of a snapshot goes to the output that the plane was given, whole
// when the plane has been closed.
func TestAccessLog(t *testing.T) {
	app := httptest.NewServer(http.NotFoundHandler())
	defer app.Close()
	var out bytes.Buffer
	p := New(slog.New(slog.DiscardHandler), &out, "test", "")
	closed := false
	end := func() {
		if !closed {
			closed = true
			p.Close(5 * time.Second)
		}
	}
	defer end()
	if err := p.Apply(&snapshot.Snapshot{
		Workload:  &snapshot.Workload{Cluster: "local", Namespace: "shop", Key: "w"},
		Telemetry: &snapshot.Telemetry{AccessLog: &snapshot.AccessLog{Mode: snapshot.AccessLog_MODE_ALL}},
		Ports:     []*snapshot.Port{{Number: 8080, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "payments"}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{{
			Name: "payments", Generation: 1,
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_OPEN, Headers: snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{{
				Name: "all", OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, Scope: snapshot.Scope_SCOPE_POD,
				Algorithm: snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, Limit: 9, WindowSeconds: 3600,
			}},
		}},
	}, nil, nil); err != nil {
		t.Fatal(err)
	}
	addr, err := p.Listen("127.0.0.1:0", 8080, strings.TrimPrefix(app.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr.String() + "/v1/payments?token=s3cret")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	end()
	var line struct {
		Log, Path string
		Status    int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Log != "access" || line.Path != "/v1/payments" || line.Status != 404 {
		t.Errorf("the output is %q, error %v", out.String(), err)
	}
}
