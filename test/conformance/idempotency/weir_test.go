// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"weir.dev/weir/sidecar/store/redis/redistest"
	"weir.dev/weir/test/faults/tap"
)

const policy = `apiVersion: weir.dev/v1alpha1
kind: IdempotencyPolicy
metadata: {name: orders, namespace: shop}
spec:
  targetRefs: [{name: shop}]
  match: [{http: {methods: [POST, PATCH]}}]
  scope: [{clientIP: {}}]
  key: {onMissing: Reject}
  inFlight: {wait: 100ms}
`

// binary is built once for all tests, and kept until the last is over.
var binary struct {
	once sync.Once
	dir  string
	path string
	err  error
	out  []byte
}

func TestMain(m *testing.M) {
	binary.dir, binary.err = os.MkdirTemp("", "weir")
	code := m.Run()
	_ = os.RemoveAll(binary.dir)
	os.Exit(code)
}

func weir(t *testing.T) string {
	t.Helper()
	binary.once.Do(func() {
		if binary.path = os.Getenv("WEIR_BIN"); binary.path != "" || binary.err != nil {
			return
		}
		binary.path = filepath.Join(binary.dir, "weir")
		// As the test itself is built, so that most of it is there already.
		args := []string{"build", "-o", binary.path}
		if racing {
			args = append(args, "-race")
		}
		binary.out, binary.err = exec.Command("go", append(args, "weir.dev/weir/cmd/weir")...).CombinedOutput()
	})
	if binary.err != nil {
		t.Fatalf("%v\n%s", binary.err, binary.out)
	}
	return binary.path
}

// cuts says at which point of a tap the next connection is cut.
type cuts struct{ at atomic.Pointer[string] }

func (c *cuts) next(point string) { c.at.Store(&point) }

func (c *cuts) hook(point string) bool {
	at := c.at.Load()
	return at == nil || *at != point || !c.at.CompareAndSwap(at, nil)
}

// front is a `weir run` before an application.
type front struct {
	// address is of a tap before it.
	address string
	redis   *redistest.Server
	cuts    cuts
}

func startWeir(t *testing.T, text, upstream string) *front {
	t.Helper()
	f := &front{redis: redistest.Start(t)}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(weir(t), "run", "-f", file, "--redis", f.redis.Addr,
		"--listener", "name=shop/http,listen=127.0.0.1:0,upstream="+upstream+",protocol=http")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "listening on "); ok {
			listen, _, _ := strings.Cut(rest, " ")
			f.address = tap.Streams(t, listen, "client", f.cuts.hook).Addr
			break
		}
	}
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	if f.address == "" {
		t.Fatalf("weir run has ended without a listener:\n%s", log.String())
	}
	return f
}
