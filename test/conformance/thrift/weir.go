// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// policies: nothing for the Service "plain", a limit for "governed", and one by fields
// of the arguments for "argument". None is ever reached.
const policies = `apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: governed}
spec:
  targetRefs: [{group: "", kind: Service, name: governed}]
  limits:
  - {name: never, scope: Pod, key: [{clientIP: {}}], algorithm: TokenBucket, limit: 1000000, window: 1s}
---
apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: argument}
spec:
  targetRefs: [{group: "", kind: Service, name: argument}]
  limits:
  - {name: first, scope: Pod, key: [{thriftField: "1"}], onMissingKey: Skip, algorithm: TokenBucket, limit: 1000000, window: 1s}
  - {name: member, scope: Pod, key: [{thriftField: "1.1"}], onMissingKey: Skip, algorithm: TokenBucket, limit: 1000000, window: 1s}
`

// ways are how a client reaches a server, in the order of the table; the first is
// without Weir.
var ways = [...]string{"directly", "plain", "governed", "argument"}

// weir is one process with a port for each way.
type weir struct {
	*process
	ports [len(ways)]int
	admin string
}

var (
	listening = regexp.MustCompile(`(?m)^listening on 127\.0\.0\.1:(\d+) for (\w+)/`)
	health    = regexp.MustCompile(`(?m)^health and metrics on (http://\S+)`)
	counted   = regexp.MustCompile(`(?m)^weir_decisions_total\{decision="allowed".*policy="(\w+)".*\} (\d+)`)
	denied    = regexp.MustCompile(`(?m)^weir_decisions_total\{decision="(denied|failed|error)[^}]*\} [1-9].*`)
)

// startWeir puts Weir before the server at a port.
func startWeir(ctx context.Context, program string, server int) (*weir, error) {
	dir, err := os.MkdirTemp("", "weir-thrift-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "policies.yaml")
	if err := os.WriteFile(file, []byte(policies), 0o600); err != nil {
		return nil, err
	}
	args := []string{program, "run", "-f", file, "--admin", "127.0.0.1:0"}
	for _, way := range ways[1:] {
		args = append(args, "--listener", fmt.Sprintf("name=%s/thrift,listen=127.0.0.1:0,upstream=127.0.0.1:%d,protocol=thrift", way, server))
	}
	w := &weir{ports: [len(ways)]int{server}}
	if w.process, err = start(ctx, command{args: args}); err != nil {
		return nil, err
	}
	if err := w.until(ctx, "weir run", w.ready); err != nil {
		w.stop()
		return nil, err
	}
	return w, nil
}

// ready reads from its output where it listens.
func (w *weir) ready() bool {
	text := w.out.String()
	found := 0
	for _, m := range listening.FindAllStringSubmatch(text, -1) {
		for i, way := range ways {
			if m[2] == way {
				w.ports[i], _ = strconv.Atoi(m[1])
				found++
			}
		}
	}
	m := health.FindStringSubmatch(text)
	if m != nil {
		w.admin = m[1]
	}
	return found == len(ways)-1 && m != nil
}

// governs is an error unless the limits have counted, and have let everything through.
func (w *weir) governs(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.admin+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	sums := map[string]int{}
	for _, m := range counted.FindAllStringSubmatch(string(text), -1) {
		n, _ := strconv.Atoi(m[2])
		sums[m[1]] += n
	}
	for _, policy := range ways[2:] {
		if sums[policy] == 0 {
			return fmt.Errorf("the limits of %s have counted nothing", policy)
		}
	}
	if m := denied.FindString(string(text)); m != "" {
		return fmt.Errorf("a limit that is never reached has denied: %s", m)
	}
	return nil
}
