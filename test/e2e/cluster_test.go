// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
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
	return commandFrom(env, strings.NewReader(stdin), args...)
}

func commandFrom(env string, stdin io.Reader, args ...string) (string, error) {
	words := strings.Fields(os.Getenv(env))
	if len(words) == 0 {
		return "", fmt.Errorf("%s is not set; run the suite with `make e2e`", env)
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*patience) // kubectl and helm wait for patience
	defer stop()
	cmd := exec.CommandContext(ctx, words[0], append(words[1:], args...)...)
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\nstandard error: %s\nstandard output: %s",
			words[len(words)-1], strings.Join(args, " "), err, strings.TrimSpace(errs.String()), strings.TrimSpace(out.String()))
	}
	return out.String(), nil
}

// underway runs a command in the client pod until end is called, which ends its
// standard input and returns what it has printed.
func underway(t *testing.T, ns string, args ...string) (end func() (string, error)) {
	t.Helper()
	type result struct {
		out string
		err error
	}
	stdin, eof := io.Pipe()
	ended := make(chan result, 1)
	go func() {
		out, err := commandFrom("E2E_KUBECTL", stdin, append([]string{"exec", "-i", "-n", ns, "client", "--"}, args...)...)
		_ = stdin.Close() // what is written from now on has no reader
		ended <- result{out, err}
	}()
	t.Cleanup(func() { _ = eof.Close() })
	return func() (string, error) {
		_ = eof.Close()
		r := <-ended
		return r.out, r.err
	}
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

// namespace makes a namespace that is deleted when the test has passed.
func namespace(t *testing.T, name string, labels ...string) string {
	t.Helper()
	_, _ = tryKubectl("", "delete", "namespace", name, "--ignore-not-found", "--wait=true")
	kubectl(t, "create", "namespace", name)
	if len(labels) > 0 {
		kubectl(t, append([]string{"label", "namespace", name}, labels...)...)
	}
	if slices.Contains(labels, inject) {
		operatorAnswers(t, name)
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
		t.Logf("state by kubectl %s\n%s%v", strings.Join(args, " "), out, err)
	}
}
