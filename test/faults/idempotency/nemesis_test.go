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
	// drain: SIGTERM; what was read goes on.
	drain action = "drain"
	// refuse connections for a while. Its only point is the application's listener.
	refuse action = "refuse"
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

// harm is what can be done to a pod.
type harm struct {
	point string
	does  action
}

func harms() []harm {
	all := []harm{{"app/connect", refuse}}
	for _, p := range points() {
		for _, a := range []action{kill, pause, cut, drain} {
			all = append(all, harm{p, a})
		}
	}
	return all
}

// armed is what is to happen to a pod next.
type armed struct {
	pod *pod

	mu    sync.Mutex
	next  harm
	fired chan struct{}
}

// arm sets a trap, and returns what is closed when it has snapped.
func (a *armed) arm(next harm) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next, a.fired = next, make(chan struct{})
	return a.fired
}

// disarm reports whether it had not snapped.
func (a *armed) disarm() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	unspent := a.next.point != ""
	a.next = harm{}
	return unspent
}

// hit is the hook of the pod's taps.
func (a *armed) hit(point string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if point != a.next.point {
		return true
	}
	does := a.next.does
	a.next = harm{}
	defer close(a.fired)
	switch does {
	case kill:
		a.pod.kill()
		return false
	case pause:
		a.pod.signal(syscall.SIGSTOP)
		return true
	case drain:
		a.pod.signal(syscall.SIGTERM)
		return true
	default:
		return false
	}
}

// nemesis does harm until it is told to stop, and then puts everything right.
type nemesis struct {
	w *world
	// store: Redis is harmed too.
	store bool

	mu    sync.Mutex
	done  map[string]int
	tried map[harm]int
}

func newNemesis(w *world, store bool) *nemesis {
	return &nemesis{w: w, store: store, done: map[string]int{}, tried: map[harm]int{}}
}

// run harms each pod, and the store, on its own.
func (n *nemesis) run(stop <-chan struct{}) {
	var wg sync.WaitGroup
	each := func(id uint64, pause time.Duration, once func(*rand.Rand)) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(n.w.seed, 1<<32+id))
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(r.Int64N(int64(pause)))):
				}
				once(r)
			}
		})
	}
	for id, p := range n.w.pods {
		each(uint64(id), 300*time.Millisecond, func(r *rand.Rand) { n.harm(r, p, n.choose(r)) })
	}
	if n.store {
		each(99, 2*time.Second, n.harmStore)
	}
	wg.Wait()
}

// choose mostly takes what has been done least.
func (n *nemesis) choose(r *rand.Rand) harm {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := harms()
	chosen := all[r.IntN(len(all))]
	if r.IntN(4) > 0 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		// What was tried in vain lets others have their turn.
		cost := func(h harm) int { return 4*n.done[h.String()] + n.tried[h] }
		chosen = slices.MinFunc(all, func(a, b harm) int { return cost(a) - cost(b) })
	}
	n.tried[chosen]++
	return chosen
}

func (h harm) String() string { return h.point + " " + string(h.does) }

func (n *nemesis) did(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done[what]++
}

// harm waits for the pod to come to the point; not all points are come to soon.
func (n *nemesis) harm(r *rand.Rand, p *pod, h harm) {
	if h.does == refuse {
		n.did(h.String())
		p.application.Refuse()
		time.Sleep(time.Duration(50+r.IntN(250)) * time.Millisecond)
		p.accept()
		return
	}
	fired := p.armed.arm(h)
	select {
	case <-fired:
	case <-time.After(800 * time.Millisecond):
		if p.armed.disarm() {
			return
		}
		<-fired
	}
	n.did(h.String())
	switch h.does {
	case kill:
		away := time.Duration(r.IntN(300)) * time.Millisecond
		if r.IntN(3) == 0 {
			// Others find out that it is gone.
			away += lease
		}
		time.Sleep(away)
		p.restart()
	case pause:
		// Mostly for longer than a lease, at times for less.
		time.Sleep(lease/4 + time.Duration(r.Int64N(int64(3*lease/2))))
		p.signal(syscall.SIGCONT)
	case drain:
		p.restart()
	}
}

func (n *nemesis) harmStore(r *rand.Rand) {
	switch r.IntN(3) {
	case 0:
		n.did("redis killed, restarted")
		n.w.redis.primary.Kill()
		time.Sleep(time.Duration(r.IntN(200)) * time.Millisecond)
		n.w.redis.primary.Restart()
	case 1:
		n.did("redis stopped for a while")
		n.w.redis.primary.Hang()
		time.Sleep(time.Duration(r.IntN(600)) * time.Millisecond)
		n.w.redis.primary.Resume()
	case 2:
		n.did("redis failed over, nothing lost")
		n.w.redis.failover(n.w, false)
	}
}

// missing is what has not been done once.
func (n *nemesis) missing() (all []string) {
	for _, h := range harms() {
		if n.done[h.String()] == 0 {
			all = append(all, h.String())
		}
	}
	return all
}

// report is a table of what was done how often.
func (n *nemesis) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-20s", "")
	does := []action{kill, pause, cut, drain}
	for _, a := range does {
		fmt.Fprintf(&b, "%7s", a)
	}
	b.WriteByte('\n')
	left := maps.Clone(n.done)
	for _, p := range points() {
		fmt.Fprintf(&b, "  %-20s", p)
		for _, a := range does {
			h := harm{p, a}.String()
			fmt.Fprintf(&b, "%7d", n.done[h])
			delete(left, h)
		}
		b.WriteByte('\n')
	}
	for _, what := range slices.Sorted(maps.Keys(left)) {
		fmt.Fprintf(&b, "  %-32s %5d\n", what, left[what])
	}
	return b.String()
}
