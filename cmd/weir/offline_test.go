// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

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

func TestCompileSaysWhatWasNotAccepted(t *testing.T) {
	burst := strings.Replace(withLimit(5), "window: 3600s", "window: 3600s, penalty: {denials: 5, within: 1m, ban: 1m}", 1)
	_, errs, err := execute(t, burst, "compile", "-f", "-")
	if err == nil || !strings.Contains(errs, "Unsupported") || !strings.Contains(errs, "spec.limits[0].penalty") {
		t.Errorf("got %v and %q, want Unsupported with the path", err, errs)
	}
}

func TestCheckFiles(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want finding.Code
	}{
		"malformed":   {strings.Replace(withLimit(5), "limit: 5", "limit: five", 1), finding.MalformedPolicy},
		"unsupported": {strings.Replace(withLimit(5), "window: 3600s", "window: 3600s, replays: Free", 1), finding.NotAccepted},
		"warned":      {withLimit(5), finding.AcceptedButWarned},
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
