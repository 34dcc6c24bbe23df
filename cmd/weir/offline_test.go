// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/cmd/weir/internal/finding"
)

// execute runs a command without a terminal and returns what it printed.
func execute(t *testing.T, stdin string, args ...string) (out, errs string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	c := root()
	c.SetArgs(args)
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&o)
	c.SetErr(&e)
	err = c.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

func TestDemoTellsTheStory(t *testing.T) {
	out, _, err := execute(t, "", "demo")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`5  alice   200     "per-client";r=0;t=`,
		`6  alice   429     "per-client";r=0;t=`,
		`2  bob     200`,
		`"violated-policies":["per-client"]`,
		"would have denied 3",
		"spec.limits[0].limit",
		"HTTP/1.1 502",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the tour does not show %q:\n%s", want, out)
		}
	}
}

func TestCompileMakesASnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot.json")
	if _, _, err := execute(t, withLimit(5), "compile", "-f", "-", "-o", path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s snapshot.Snapshot
	if err := protojson.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Validate(&s); err != nil {
		t.Error(err)
	}
	if len(s.GetPorts()) != 1 || s.GetPorts()[0].GetRateLimitPolicy() != "payments" || s.GetPorts()[0].GetNames()[0] != "payments/http" &&
		s.GetPorts()[0].GetNames()[1] != "payments/http" {
		t.Errorf("ports: %v", s.GetPorts())
	}
}

func TestCompileWritesTelemetry(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string // protojson; empty: nothing
	}{
		"nothing": {nil, ""},
		"off":     {[]string{"--access-log", "off"}, ""},
		"errors":  {[]string{"--access-log", "errors"}, `{"accessLog":{"mode":"MODE_ERRORS"}}`},
		"sampled": {[]string{"--access-log", "Sampled"}, `{"accessLog":{"mode":"MODE_SAMPLED","samplePerMillion":10000}}`},
		"a quarter of a percent": {[]string{"--access-log", "sampled", "--access-log-sample", "0.25"},
			`{"accessLog":{"mode":"MODE_SAMPLED","samplePerMillion":2500}}`},
		"spans": {[]string{"--otlp", "localhost:4317"}, `{"tracing":{"endpoint":"localhost:4317","samplePerMillion":100000}}`},
		"both": {[]string{"--access-log", "all", "--otlp", "localhost:4317", "--trace-sample", "100"},
			`{"accessLog":{"mode":"MODE_ALL"},"tracing":{"endpoint":"localhost:4317","samplePerMillion":1000000}}`},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := execute(t, withLimit(5), append([]string{"compile", "-f", "-"}, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			var s snapshot.Snapshot
			if err := protojson.Unmarshal([]byte(out), &s); err != nil {
				t.Fatal(err)
			}
			var want *snapshot.Telemetry
			if c.want != "" {
				want = &snapshot.Telemetry{}
				if err := protojson.Unmarshal([]byte(c.want), want); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(want, s.GetTelemetry(), protocmp.Transform()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// A port is what its listener says, else what its name says, as in a cluster.
func TestCompileReadsProtocols(t *testing.T) {
	sample, err := os.ReadFile("../../config/samples/ratelimitpolicy-grpc.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := execute(t, string(sample), "compile", "-f", "-")
	if err != nil {
		t.Fatal(err)
	}
	var s snapshot.Snapshot
	if err := protojson.Unmarshal([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.GetPorts()) != 1 || s.GetPorts()[0].GetProtocol() != snapshot.Protocol_PROTOCOL_GRPC {
		t.Errorf("ports: %v", s.GetPorts())
	}
}

func TestCompileSaysWhatWasNotAccepted(t *testing.T) {
	_, errs, err := execute(t, withLimit(5)+unsupported, "compile", "-f", "-")
	if err == nil || !strings.Contains(errs, "Unsupported") || !strings.Contains(errs, "spec.response.thrift.exceptionCode") {
		t.Errorf("got %v and %q, want Unsupported with the path", err, errs)
	}
}

// unsupported, behind a policy, makes it one that this version does not enforce.
const unsupported = "  response: {thrift: {exceptionCode: 0}}\n"

func TestCheckFiles(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want finding.Code
	}{
		"malformed":   {strings.Replace(withLimit(5), "limit: 5", "limit: five", 1), finding.MalformedPolicy},
		"unsupported": {withLimit(5) + unsupported, finding.NotAccepted},
		"warned":      {withLimit(5), finding.AcceptedButWarned},
		"no policy":   {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", finding.NothingToCheck},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := execute(t, test.in, "check", "-f", "-", "-o", "json")
			var got []finding.Finding
			if e := json.Unmarshal([]byte(out), &got); e != nil {
				t.Fatalf("%v in %q (%v)", e, out, err)
			}
			if len(got) != 1 || got[0].Code != test.want || got[0].Message == "" || got[0].Remedy == "" {
				t.Errorf("findings %+v, want one %s", got, test.want)
			}
			if (err != nil) != (got[0].Level == finding.Error) {
				t.Errorf("level %s and error %v do not agree", got[0].Level, err)
			}
		})
	}
}

func TestCheckNamesFileAndLine(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "a.yaml"), withLimit(5))
	write(t, filepath.Join(folder, "b.yaml"), "# another namespace\n"+strings.NewReplacer("shop", "bank", "limit: 5", "limit: -5").Replace(withLimit(5)))
	write(t, filepath.Join(folder, "README"), "no manifest")
	out, _, err := execute(t, "", "check", "-f", folder)
	if want := filepath.Join(folder, "b.yaml") + ":7\n  RateLimitPolicy bank/payments: spec.limits[0].limit"; err == nil || !strings.Contains(out, want) {
		t.Errorf("%v, want %q in:\n%s", err, want, out)
	}
	write(t, filepath.Join(folder, "b.yaml"), strings.ReplaceAll(withLimit(5), "shop", "bank"))
	out, _, err = execute(t, "", "check", "-f", folder, "-o", "json")
	if err != nil || !strings.Contains(out, "RateLimitPolicy/shop/payments") || !strings.Contains(out, "RateLimitPolicy/bank/payments") {
		t.Errorf("%v, want both namespaces in:\n%s", err, out)
	}
}

// What is typed wrong is refused before anything is done, in words that help.
func TestUsage(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	good := policyFile(t, withLimit(5))
	kubeconfig := filepath.Join(t.TempDir(), "config")
	write(t, kubeconfig, "apiVersion: v1\nkind: Config\ncontexts: [{name: dev, context: {cluster: dev}}]\nclusters: [{name: dev, cluster: {server: https://127.0.0.1:1}}]\n")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"two files, one -f":   {[]string{"check", "-f", good, "other.yaml"}, "-f of its own"},
		"file that is away":   {[]string{"check", "-f", "nowhere.yaml"}, "nowhere.yaml: no such file"},
		"folder of nothing":   {[]string{"check", "-f", t.TempDir()}, "no *.yaml"},
		"format":              {[]string{"status", "-o", "wide"}, "table, json or yaml"},
		"format of files":     {[]string{"check", "-f", good, "-o", "xml"}, "table, json or yaml"},
		"unknown flag":        {[]string{"run", "--listen", "x"}, "weir run --help"},
		"no kubeconfig":       {[]string{"status"}, "there is no kubeconfig"},
		"context that is not": {[]string{"check", "--kubeconfig", kubeconfig, "--context", "prod"}, `no context "prod"`},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := execute(t, "", test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q\n%s", err, test.want, out)
			}
		})
	}
}

func TestVersionWithoutACluster(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	out, _, err := execute(t, "", "version")
	if err != nil || !strings.Contains(out, "client    dev\n") || !strings.Contains(out, "there is no kubeconfig") {
		t.Errorf("%v: %q", err, out)
	}
	if out, _, err = execute(t, "", "version", "--client"); err != nil || out != "client    dev\n" {
		t.Errorf("%v: %q", err, out)
	}
}

func TestInjectPrintsManifests(t *testing.T) {
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers: [{name: app, image: shop, ports: [{name: http, containerPort: 8080}]}]
`
	out, notes, err := execute(t, deployment, "inject", "-f", "-", "--pod-security", "restricted")
	if err != nil || !strings.Contains(out, "weir-sidecar") || !strings.Contains(out, "weir-app-0") && !strings.Contains(out, "weir-app-1") || !strings.Contains(notes, "changed") {
		t.Fatalf("%v\n%s\n%s", err, notes, out)
	}
	back, _, err := execute(t, out, "inject", "-f", "-", "--remove")
	if err != nil || strings.Contains(back, "weir") {
		t.Errorf("%v: something of Weir's is left:\n%s", err, back)
	}
}
