// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// kubectl runs kubectl and fails the test when it does.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tryKubectl runs kubectl with stdin and returns what it printed; the error
// carries its standard error.
func tryKubectl(stdin string, args ...string) (string, error) {
	return command("E2E_KUBECTL", stdin, args...)
}

func command(env, stdin string, args ...string) (string, error) {
	words := strings.Fields(os.Getenv(env))
	if len(words) == 0 {
		return "", fmt.Errorf("%s is not set; run the suite with `make e2e`", env)
	}
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s%s", words[len(words)-1], strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String(), nil
}

// apply applies a manifest in a namespace.
func apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	if out, err := tryKubectl(manifest, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// get decodes `kubectl get … -o json` into v.
func get(t *testing.T, v any, args ...string) {
	t.Helper()
	out := kubectl(t, append(append([]string{"get"}, args...), "-o", "json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatal(err)
	}
}

// eventually calls check until it returns nil, for at most d.
func eventually(t *testing.T, d time.Duration, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(d)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %v", what, d, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// waitProgrammed waits as a user would.
func waitProgrammed(t *testing.T, namespace, policy string) {
	t.Helper()
	if out, err := tryKubectl("", "wait", "--for=condition=Programmed", "--timeout=60s", "-n", namespace, "rlp/"+policy); err != nil {
		status, _ := tryKubectl("", "get", "rlp", policy, "-n", namespace, "-o", "yaml")
		t.Fatalf("%v\n%s\n%s", err, out, status)
	}
}

// namespace makes a namespace that is deleted when the test has passed.
func namespace(t *testing.T, name string, labels ...string) string {
	t.Helper()
	_, _ = tryKubectl("", "delete", "namespace", name, "--ignore-not-found", "--wait=true")
	kubectl(t, "create", "namespace", name)
	if len(labels) > 0 {
		kubectl(t, append([]string{"label", "namespace", name}, labels...)...)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dump(t, name)
			return
		}
		_, _ = tryKubectl("", "delete", "namespace", name, "--wait=false")
	})
	return name
}

// dump logs what helps to understand a failure.
func dump(t *testing.T, namespace string) {
	for _, args := range [][]string{
		{"get", "pods,svc,endpointslices,rlp", "-n", namespace, "-o", "wide"},
		{"describe", "pods", "-n", namespace},
		{"get", "events", "-n", namespace},
		{"logs", "-n", namespace, "-l", "app", "--all-containers", "--tail=60", "--prefix"},
		{"logs", "-n", systemNamespace, "-l", "app.kubernetes.io/name=weir", "--tail=60", "--prefix"},
	} {
		out, err := tryKubectl("", args...)
		t.Logf("kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}
