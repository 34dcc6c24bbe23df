// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
)

// What the samples ask for compiles, and a sidecar takes it; together they show every
// algorithm.
func TestSamplesServe(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/ratelimitpolicy*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("samples %v, error %v", files, err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		out, _, err := execute(t, "", "compile", "-f", file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var s snapshot.Snapshot
		if err := protojson.Unmarshal([]byte(out), &s); err != nil {
			t.Fatal(err)
		}
		e := engine.New(engine.Options{})
		if err := e.Apply(&s); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		e.Close()
		if len(s.GetRateLimitPolicies()) != 1 || len(s.GetPorts()) != 1 || s.GetPorts()[0].GetRateLimitPolicy() == "" {
			t.Errorf("%s governs nothing: %v", file, s.GetPorts())
		}
		for _, p := range s.GetRateLimitPolicies() {
			for _, l := range p.GetLimits() {
				seen[strings.TrimPrefix(l.GetAlgorithm().String(), "ALGORITHM_")] = true
				seen["calendar"] = seen["calendar"] || l.GetCalendar() != nil
				seen["fixed window of seconds"] = seen["fixed window of seconds"] || l.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_FIXED_WINDOW && l.GetWindowSeconds() > 0
				seen["leased"] = seen["leased"] || l.GetLeased()
				seen["penalty"] = seen["penalty"] || l.GetPenalty() != nil
				seen["overrides"] = seen["overrides"] || len(l.GetOverrides()) > 0
			}
		}
	}
	for _, want := range []string{"SLIDING_WINDOW", "TOKEN_BUCKET", "FIXED_WINDOW", "CONCURRENCY", "calendar", "fixed window of seconds", "leased", "penalty", "overrides"} {
		if !seen[want] {
			t.Errorf("no sample shows %s", want)
		}
	}
}

// So does the one of IdempotencyPolicy.
func TestSampleOfIdempotencyServes(t *testing.T) {
	out, _, err := execute(t, "", "compile", "-f", "../../config/samples/idempotencypolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var s snapshot.Snapshot
	if err := protojson.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Validate(&s); err != nil {
		t.Error(err)
	}
	e := engine.New(engine.Options{})
	defer e.Close()
	if err := e.Apply(&s); err != nil {
		t.Error(err)
	}
	if len(s.GetPorts()) != 1 || s.GetPorts()[0].GetIdempotencyPolicy() != "payments" {
		t.Errorf("it governs nothing: %v", s.GetPorts())
	}
}

// `weir run` serves each of them.
func TestSamplesRun(t *testing.T) {
	for _, c := range []struct{ file, name string }{
		{"ratelimitpolicy", "payments/http"}, {"ratelimitpolicy-algorithms", "payments/http"}, {"ratelimitpolicy-grpc", "ledger/grpc"}, {"ratelimitpolicy-thrift", "payments/thrift"},
		{"idempotencypolicy", "payments/http"},
	} {
		t.Run(c.file, func(t *testing.T) {
			run := startListener(t, c.name, "127.0.0.1:9", "-f", "../../config/samples/"+c.file+".yaml")
			if said := strings.Join(run.said, "\n"); !strings.Contains(said, "accepted ") || strings.Contains(said, "refused") {
				t.Errorf("it says:\n%s", said)
			}
		})
	}
}
