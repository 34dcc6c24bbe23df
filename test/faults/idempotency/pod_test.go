// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir.dev/weir/sidecar/store/redis/redistest"
	"weir.dev/weir/test/faults/tap"
)

// The policy's bounds, small so that a run meets them often.
const (
	lease           = 900 * time.Millisecond
	wait            = 300 * time.Millisecond
	upstreamTimeout = 600 * time.Millisecond
	lateWindow      = 900 * time.Millisecond
	maxResponse     = 4 << 10
)

func policy(guarantee string) string {
	return fmt.Sprintf(`apiVersion: weir.dev/v1alpha1
kind: IdempotencyPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: shop}]
  match: [{http: {methods: [POST]}}]
  guarantee: %s
  key: {onMissing: Reject}
  scope: [{header: X-Client-Id}]
  inFlight: {lease: %s, wait: %s}
  upstream: {timeout: %s, lateWindow: %s}
  response: {maxBytes: 4Ki}
  retention: 1h
`, guarantee, lease, wait, upstreamTimeout, lateWindow)
}

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

// weir is the binary under test: WEIR_BIN, or built from this tree.
func weir(t testing.TB) string {
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

// accept has the application accept connections again. Its port may be another's for
// a moment.
func (p *pod) accept() {
	var err error
	for range 500 {
		if err = p.application.Accept(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Errorf("%s: %v", p.name, err)
}

// pod is one `weir run` with a tap on each side.
type pod struct {
	t    testing.TB
	name string
	bin  string
	args []string
	// address is what clients dial: the tap before it.
	address string
	store   *tap.Tap
	admin   string
	// application is the tap between it and the application.
	application *tap.Tap

	mu   sync.Mutex
	cmd  *exec.Cmd
	logs logs
	// ending: it has been told to. dead: killed.
	ending, dead bool
	// gone is closed when the process has ended.
	gone chan struct{}

	armed armed
}

func newPod(t testing.TB, name, bin, file, upstream, redis string) *pod {
	p := &pod{t: t, name: name, bin: bin}
	p.armed.pod = p
	p.store = tap.Redis(t, redis, recordCommand, p.armed.hit)
	p.application = tap.Streams(t, upstream, "app", p.armed.hit)
	listen := redistest.FreeAddr(t)
	p.admin = redistest.FreeAddr(t)
	p.address = tap.Streams(t, listen, "client", p.armed.hit).Addr
	p.args = []string{
		"run", "-f", file, "--redis", p.store.Addr, "--data-dir", t.TempDir(), "--admin", p.admin,
		"--listener", "name=shop/http,listen=" + listen + ",upstream=" + p.application.Addr + ",protocol=http",
	}
	p.start()
	t.Cleanup(p.stop)
	return p
}

// recordCommand names the commands that idempotency sends.
func recordCommand(words [][]byte) string {
	if len(words) < 3 {
		return ""
	}
	switch strings.ToUpper(string(words[0])) {
	case "SET":
		if !bytes.Contains(words[1], []byte(":{i")) {
			return ""
		}
		if len(words[2]) > 1 && words[2][1] == 'I' {
			return "begin"
		}
		return "finish"
	case "EVALSHA", "EVAL":
		if len(words) > 4 && bytes.Contains(words[3], []byte(":{i")) {
			return string(words[4])
		}
	}
	return ""
}

// start runs the process and waits until it listens.
func (p *pod) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.bin, p.args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = &p.logs
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd, p.ending, p.dead, p.gone = cmd, false, false, make(chan struct{})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&p.logs, lines.Text())
		if strings.Contains(lines.Text(), "listening on ") {
			go p.watch(cmd, lines, p.gone)
			return
		}
	}
	_ = cmd.Wait()
	close(p.gone)
	p.t.Errorf("%s ended without a listener:\n%s", p.name, p.log())
}

// watch waits for the end of a process, and says so when nobody has asked for it.
func (p *pod) watch(cmd *exec.Cmd, lines *bufio.Scanner, gone chan struct{}) {
	for lines.Scan() {
		fmt.Fprintln(&p.logs, lines.Text())
	}
	err := cmd.Wait()
	p.mu.Lock()
	ending := p.ending
	p.mu.Unlock()
	if !ending {
		p.t.Errorf("%s ended by itself: %v\n%s", p.name, err, last(p.log(), 4000))
	}
	close(gone)
}

// kill ends the process as kill -9 does. It does not wait for it.
func (p *pod) kill() { p.signal(syscall.SIGKILL) }

func (p *pod) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil && !p.dead {
		p.ending = p.ending || sig == syscall.SIGKILL || sig == syscall.SIGTERM
		p.dead = sig == syscall.SIGKILL
		_ = p.cmd.Process.Signal(sig)
	}
}

// drainWithin is how long a process may go on after SIGTERM.
const drainWithin = 30 * time.Second

// restart starts it again after its end, which has been asked for.
func (p *pod) restart() {
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	late := time.AfterFunc(drainWithin, func() {
		p.t.Errorf("%s goes on %s after it was to end", p.name, drainWithin)
		p.kill()
	})
	<-gone
	late.Stop()
	p.start()
}

func (p *pod) stop() {
	p.signal(syscall.SIGCONT)
	p.kill()
	<-p.gone
	if _, race, ok := strings.Cut(p.log(), "WARNING: DATA RACE"); ok {
		p.t.Errorf("%s has a data race:%.4000s", p.name, race)
	}
	if p.t.Failed() {
		p.t.Logf("the last of %s's log:\n%s", p.name, last(p.log(), 4000))
	}
}

// logs of all processes of a pod.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (p *pod) log() string {
	p.logs.mu.Lock()
	defer p.logs.mu.Unlock()
	return p.logs.b.String()
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// metric sums all series of a metric, -1 where it cannot be read.
func (p *pod) metric(name string) float64 {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + p.admin + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	sum := 0.0
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &v); err == nil {
			sum += v
		}
	}
	return sum
}

// reachable waits until the address accepts.
func reachable(t testing.TB, address string) {
	t.Helper()
	for range 500 {
		if c, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nobody listens on %s", address)
}
