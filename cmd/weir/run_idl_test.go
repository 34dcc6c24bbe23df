// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
)

// yes is a TProcessor that answers check with true, and counts.
type yes struct{ calls atomic.Int64 }

func (y *yes) Process(ctx context.Context, in, out thrift.TProtocol) (bool, thrift.TException) {
	name, _, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return false, thrift.WrapTException(err)
	}
	if err := in.Skip(ctx, thrift.STRUCT); err != nil {
		return false, thrift.WrapTException(err)
	}
	y.calls.Add(1)
	for _, err := range []error{
		out.WriteMessageBegin(ctx, name, thrift.REPLY, seq), out.WriteFieldBegin(ctx, "success", thrift.BOOL, 0),
		out.WriteBool(ctx, true), out.WriteFieldStop(ctx), out.WriteMessageEnd(ctx), out.Flush(ctx),
	} {
		if err != nil {
			return false, thrift.WrapTException(err)
		}
	}
	return true, nil
}

func (*yes) ProcessorMap() map[string]thrift.TProcessorFunction  { return nil }
func (*yes) AddToProcessorMap(string, thrift.TProcessorFunction) {}

const restPolicies = `
apiVersion: weir.dev/v1alpha1
kind: IdempotencyPolicy
metadata: {name: once, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  match: [{http: {methods: [POST]}}]
  scope: [{header: X-Client-Id}]
---
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: few, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  limits: [{name: clients, key: [{header: X-Client-Id}], limit: 3, window: 1h, algorithm: FixedWindow}]
`

// HTTP of both versions outside and a server of apache/thrift inside: limits and records
// hold, a request that is no call leaves its key free, and a bad IDL is refused.
func TestRunAnswersRESTWithThrift(t *testing.T) {
	app := &yes{}
	upstream := serveThrift(t, app, "framed", "binary")
	run := startRun(t, upstream, "-f", writeTemp(t, "policy.yaml", restPolicies), "--idl", "name=payments/http,file="+shopIDL)
	defer func() { _ = run.stop() }()
	for version, set := range map[string]func(*http.Protocols){
		"1": func(p *http.Protocols) { p.SetHTTP1(true) }, "2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		set(tr.Protocols)
		defer tr.CloseIdleConnections()
		before := app.calls.Load()
		for i, c := range []struct {
			body, want, status string
			code               int
			reached            int64
		}{
			{`{"number": "x"}`, "not an integer", "executed", 400, 0},
			{`{"number": 1}`, "true", "executed", 200, 1},
			{`{"number": 1}`, "true", "replayed", 200, 1},
			{`{"number": 1}`, "quota-exceeded", "", 429, 1},
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+run.address+"/check", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-Client-Id", "v"+version)
			req.Header.Set("Idempotency-Key", "k")
			resp, err := (&http.Client{Transport: tr}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.StatusCode != c.code || !strings.Contains(string(body), c.want) || resp.Header.Get("Idempotency-Status") != c.status || resp.Header.Get("Weir-Idempotency-Outcome") != "" {
				t.Errorf("HTTP/%s, %d: %s %q %v %v", version, i, resp.Status, body, resp.Header, err)
			}
			if n := app.calls.Load() - before; n != c.reached {
				t.Errorf("HTTP/%s, %d: %d calls, want %d", version, i, n, c.reached)
			}
		}
	}
}

func TestBadIDLs(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.thrift")
	if err := os.WriteFile(bad, []byte("service S { Nothing f(1: i32 a) (api.get = \"/f\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := writeTemp(t, "policy.yaml", restPolicies)
	for name, args := range map[string][]string{
		"run":     {"run", "--listener", "name=payments/http,listen=127.0.0.1:0,upstream=127.0.0.1:1"},
		"check":   {"check"},
		"compile": {"compile"},
	} {
		t.Run(name, func(t *testing.T) {
			c := root()
			var out bytes.Buffer
			c.SetArgs(append(args, "-f", policy, "--idl", "name=payments/http,file="+bad))
			c.SetOut(&out)
			c.SetErr(&out)
			err := c.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(out.String()+err.Error(), "bad.thrift:1:") || !strings.Contains(out.String()+err.Error(), "Nothing is unknown") {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}
