// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/status"
)

// envStreams is how many streams TestScale opens; the default is small enough for
// every run of the tests.
const envStreams = "WEIR_SCALE_STREAMS"

// paper is a status.Store that counts.
type paper struct {
	mu     sync.Mutex
	doc    status.Document
	writes int
}

func (p *paper) Read(_ context.Context, id status.ID) (types.UID, status.Document, error) {
	if id.Name != "pay" {
		return "", status.Document{}, apierrors.NewNotFound(schema.GroupResource{}, id.Name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return "", p.doc, nil
}

func (p *paper) Write(_ context.Context, _ status.ID, _ types.UID, doc status.Document) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doc = doc
	p.writes++
	return nil
}

// programmed reports whether the status says so of a generation, and after how many
// writes.
func (p *paper) programmed(generation int64) (bool, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.doc.Conditions {
		if c.Type == string(v1alpha1.ConditionProgrammed) && c.Reason == string(v1alpha1.ReasonProgrammed) && c.ObservedGeneration == generation {
			return true, p.writes
		}
	}
	return false, p.writes
}

// TestScale opens many streams to two replicas, changes a policy that all have, and
// says how long acks and status took and what the replicas need. It asserts no times:
// machines differ. WEIR_SCALE_STREAMS=5000 is the size that the design has in mind.
func TestScale(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	if s := os.Getenv(envStreams); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", envStreams, err)
		}
	}
	c := newCluster(t)
	replicas := []*replica{c.start("a", ""), c.start("b", "")}
	leader := replicas[0]
	c.elect(leader)
	store, writer := runWriter(t, leader)
	pods := make([]attach.Pod, n)
	for i := range pods {
		name := fmt.Sprintf("pod-%d", i)
		pods[i] = attach.Pod{Name: name, UID: "uid-" + name, Ready: true, Sidecar: true, ReadySince: time.Now(), Workload: workload.Key}
	}
	before := heap()
	change := func(generation int64) {
		for _, r := range replicas {
			for i := range pods {
				r.hub.Assign(podOf(pods[i].Name), workload)
			}
			publish(r, map[string]int64{"pay": generation})
		}
		writer.Set("shop", []compile.Verdict{{
			Policy: attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: "pay"}, Generation: generation, Reason: v1alpha1.ReasonAccepted,
			Targets: []attach.Target{{Name: "pay", Reason: v1alpha1.ReasonAccepted, Pods: pods, Ports: []uint16{8080}, PortsIn: map[string][]uint16{"w1": {8080}}}},
		}}, time.Now())
	}
	change(1)
	began := time.Now()
	c.crowds(replicas, n)
	waitAcked(t, leader, n, 1)
	t.Logf("%d streams: connected and acked after %s; heap %d KiB a stream", n, time.Since(began).Round(time.Millisecond), (heap()-before)>>10/uint64(n))
	for generation := int64(2); generation <= 4; generation++ {
		began = time.Now()
		change(generation)
		took := waitAcked(t, leader, n, generation)
		var writes int
		eventually(t, "Programmed", func() (ok bool) {
			ok, writes = store.programmed(generation)
			return ok
		})
		t.Logf("generation %d: acked p50 %s, p99 %s, all %s; status after %s and %d writes", generation, took[n/2], took[n*99/100], took[n-1],
			time.Since(began).Round(time.Millisecond), writes)
	}
	if _, writes := store.programmed(4); writes > 40 {
		t.Errorf("%d writes of one status", writes)
	}
}

// heap is what lives on the heap and on stacks.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func runWriter(t *testing.T, r *replica) (*paper, *status.Writer) {
	store := &paper{}
	w := status.New(store, r.tracker, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Start(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return store, w
}

// crowds starts n sidecars, in a process of their own for each replica.
func (c *cluster) crowds(replicas []*replica, n int) {
	c.t.Helper()
	each := n / len(replicas)
	for i, r := range replicas {
		size := each
		if i == 0 {
			size = n - each*(len(replicas)-1)
		}
		first := i*each + n - each*len(replicas)
		if i == 0 {
			first = 0
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s %s", envCrowd, first, size, r.port, c.file("ca.crt")))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		in, err := cmd.StdinPipe()
		if err != nil {
			c.t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() {
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				c.t.Errorf("crowd: %v", err)
			}
			c.t.Logf("crowd: %s", bytes.TrimSpace(out.Bytes()))
		})
	}
}

// waitAcked waits for n pods to ack a generation and returns how long each took, as
// the replica saw it, sorted.
func waitAcked(t *testing.T, r *replica, n int, generation int64) []time.Duration {
	t.Helper()
	began := time.Now()
	took := map[string]time.Duration{}
	eventually(t, fmt.Sprintf("%d pods ack generation %d", n, generation), func() bool {
		time.Sleep(15 * time.Millisecond) // to look costs time, too
		now := time.Since(began).Round(time.Millisecond)
		for _, p := range r.tracker.Pods("shop") {
			if _, known := took[p.GetUid()]; !known && slices.ContainsFunc(p.GetAcked(), func(g *stream.PolicyGeneration) bool { return g.GetGeneration() == generation }) {
				took[p.GetUid()] = now
			}
		}
		return len(took) == n
	})
	out := make([]time.Duration, 0, n)
	for _, d := range took {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}
