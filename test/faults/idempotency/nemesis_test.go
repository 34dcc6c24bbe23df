// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// action at a point.
type action string

const (
	// kill -9, before what was read goes on.
	kill action = "kill"
	// pause the process for longer than a lease; what was read goes on.
	pause action = "pause"
	// cut the connection, on both sides.
	cut action = "cut"
)

// points of a pod's conversations, in the order in which a call comes to them. A point
// `redis/x` is before the server gets a command, `redis/x-done` before the pod gets
// its reply.
func points() []string {
	return []string{
		"client/request", "redis/begin", "redis/begin-done", "app/request", "app/response",
		"redis/finish", "redis/finish-done", "client/response",
		"redis/renew", "redis/renew-done", "redis/release", "redis/release-done", "redis/expire", "redis/expire-done",
	}
}

// armed is what is to happen to a pod next.
type armed struct {
	pod *pod

	mu    sync.Mutex
	point string
	does  action
	fired chan struct{}
}

// arm sets a trap, and returns what is closed when it has snapped.
func (a *armed) arm(point string, does action) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.point, a.does, a.fired = point, does, make(chan struct{})
	return a.fired
}

// disarm reports whether it had not snapped.
func (a *armed) disarm() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	unspent := a.point != ""
	a.point = ""
	return unspent
}

// hit is the hook of the pod's taps.
func (a *armed) hit(point string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if point != a.point {
		return true
	}
	a.point = ""
	defer close(a.fired)
	switch a.does {
	case kill:
		a.pod.kill()
		return false
	case pause:
		a.pod.signal(syscall.SIGSTOP)
		return true
	default:
		return false
	}
}

// nemesis does harm until it is told to stop, and then puts everything right.
type nemesis struct {
	w    *world
	rand *rand.Rand
	// store: Redis is harmed too.
	store bool
	done  map[string]int
}

func (n *nemesis) run(stop <-chan struct{}) {
	all := points()
	for {
		select {
		case <-stop:
			return
		default:
		}
		if n.store && n.rand.IntN(4) == 0 {
			n.harmStore()
		} else {
			p := n.w.pods[n.rand.IntN(len(n.w.pods))]
			n.harm(p, all[n.rand.IntN(len(all))], []action{kill, pause, cut}[n.rand.IntN(3)])
		}
		time.Sleep(time.Duration(n.rand.IntN(60)) * time.Millisecond)
	}
}

// harm waits for the pod to come to the point; not all points are come to soon.
func (n *nemesis) harm(p *pod, point string, does action) {
	fired := p.armed.arm(point, does)
	select {
	case <-fired:
	case <-time.After(400 * time.Millisecond):
		if p.armed.disarm() {
			return
		}
		<-fired
	}
	n.done[point+" "+string(does)]++
	switch does {
	case kill:
		time.Sleep(time.Duration(n.rand.IntN(300)) * time.Millisecond)
		p.restart()
	case pause:
		// Mostly for longer than a lease, at times for less.
		time.Sleep(lease/4 + time.Duration(n.rand.Int64N(int64(3*lease/2))))
		p.signal(syscall.SIGCONT)
	}
}

func (n *nemesis) harmStore() {
	switch n.rand.IntN(3) {
	case 0:
		n.done["redis killed, restarted"]++
		n.w.redis.primary.Kill()
		time.Sleep(time.Duration(n.rand.IntN(200)) * time.Millisecond)
		n.w.redis.primary.Restart()
	case 1:
		n.done["redis stopped for a while"]++
		n.w.redis.primary.Hang()
		time.Sleep(time.Duration(n.rand.IntN(600)) * time.Millisecond)
		n.w.redis.primary.Resume()
	case 2:
		n.done["redis failed over, nothing lost"]++
		n.w.redis.failover(n.w, false)
	}
}

// report is a table of what was done how often.
func (n *nemesis) report() string {
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(n.done)) {
		fmt.Fprintf(&b, "  %-36s %5d\n", what, n.done[what])
	}
	return b.String()
}
