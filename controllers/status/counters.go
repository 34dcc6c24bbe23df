// SPDX-License-Identifier: Apache-2.0

package status

import (
	"math"
	"slices"
	"time"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
)

const (
	// shadowSpan is what status.shadow covers, in slots of shadowSlot.
	shadowSpan = time.Hour
	shadowSlot = time.Minute
	// encryptedSpan is how long TLS at a port is remembered.
	encryptedSpan = 5 * time.Minute
)

// counters makes of counters that grow since a sidecar's start what happened
// lately, for the pods of one namespace.
type counters struct {
	pods   map[string]*podCounters
	shadow map[countID]*span
	// taken are those of which it is known what the leader before had counted.
	taken map[countID]bool
}

// countID names what a policy in mode Shadow counts: a limit, or an outcome.
type countID struct {
	policy attach.PolicyID
	name   string
}

type podCounters struct {
	// reported: there was a report.
	reported bool
	shadow   map[countID]uint64
	// problems are counts by port, and seen is when they last grew.
	problems map[uint32]uint64
	seen     map[uint32]time.Time
}

func newCounters() *counters {
	return &counters{pods: map[string]*podCounters{}, shadow: map[countID]*span{}, taken: map[countID]bool{}}
}

// scope is what counters may be about: pods choose what they report, and must not fill
// the operator's memory.
type scope struct {
	// older pods were ready before this replica led: what they counted before their
	// first report here is not new.
	older  map[string]bool
	counts map[countID]bool
	ports  map[uint32]bool
}

// observe takes the states of all pods there are.
func (c *counters) observe(states []*stream.PodState, in scope, now time.Time) {
	alive := map[string]bool{}
	for _, s := range states {
		alive[s.GetUid()] = true
		c.pod(s, in, now)
	}
	for uid := range c.pods {
		if !alive[uid] {
			delete(c.pods, uid)
		}
	}
	for id := range c.shadow {
		if !in.counts[id] {
			delete(c.shadow, id)
		}
	}
	for id := range c.taken {
		if !in.counts[id] {
			delete(c.taken, id)
		}
	}
}

// takeOver adds, once for each count, what the status said when this replica began to
// lead, and returns the sum. When within the hour that happened is not known: it is
// taken to have been even.
func (c *counters) takeOver(id countID, n int64, now time.Time) int64 {
	if c.shadow[id] == nil {
		c.shadow[id] = &span{}
	}
	if !c.taken[id] {
		c.taken[id] = true
		c.shadow[id].spread(now, uint64(max(0, n)))
	}
	return int64(min(c.shadow[id].sum(now), math.MaxInt64))
}

func (c *counters) pod(s *stream.PodState, in scope, now time.Time) {
	p := c.pods[s.GetUid()]
	// When what a pod counted before it was first seen here happened is not known:
	// it is left out.
	first := p == nil || !p.reported && in.older[s.GetUid()]
	if p == nil {
		p = &podCounters{shadow: map[countID]uint64{}, problems: map[uint32]uint64{}, seen: map[uint32]time.Time{}}
		c.pods[s.GetUid()] = p
	}
	p.reported = p.reported || s.GetReport() != nil
	for id, n := range shadowCounts(s.GetReport()) {
		if !in.counts[id] {
			continue
		}
		before := p.shadow[id]
		p.shadow[id] = n
		if n < before {
			before = 0 // the sidecar has started again
		}
		if n == before || first {
			continue
		}
		if c.shadow[id] == nil {
			c.shadow[id] = &span{}
		}
		c.shadow[id].add(now, n-before)
	}
	for _, r := range s.GetReport().GetProblems() {
		if r.GetKind() != stream.PortProblem_KIND_ENCRYPTED_TRAFFIC || !in.ports[r.GetPort()] {
			continue
		}
		if r.GetCount() != p.problems[r.GetPort()] && !first {
			p.seen[r.GetPort()] = now
		}
		p.problems[r.GetPort()] = r.GetCount()
	}
}

// shadowCounts are those of a report.
func shadowCounts(r *stream.Report) map[countID]uint64 {
	out := map[countID]uint64{}
	for _, c := range r.GetShadow() {
		out[countID{attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: c.GetPolicy()}, c.GetLimit()}] = c.GetWouldDeny()
	}
	for _, c := range r.GetIdempotencyShadow() {
		id := attach.PolicyID{Kind: v1alpha1.KindIdempotencyPolicy, Name: c.GetPolicy()}
		out[countID{id, compile.WouldReplay}] = c.GetWouldReplay()
		out[countID{id, compile.WouldRefuse}] = c.GetWouldRefuse()
		out[countID{id, compile.WouldWait}] = c.GetWouldWait()
	}
	return out
}

// of returns the counts of a policy by name.
func (c *counters) of(policy attach.PolicyID, names []string, now time.Time) map[string]int64 {
	out := map[string]int64{}
	for _, name := range names {
		if s := c.shadow[countID{policy, name}]; s != nil {
			out[name] = int64(min(s.sum(now), math.MaxInt64))
		}
	}
	return out
}

// encrypted returns the ports at which TLS was seen lately, by uid, and when the
// first of them is forgotten.
func (c *counters) encrypted(now time.Time) (map[string][]uint16, time.Time) {
	out := map[string][]uint16{}
	var next time.Time
	for uid, p := range c.pods {
		for port, at := range p.seen {
			end := at.Add(encryptedSpan)
			if !now.Before(end) {
				continue
			}
			out[uid] = append(out[uid], uint16(port))
			if next.IsZero() || end.Before(next) {
				next = end
			}
		}
		slices.Sort(out[uid])
	}
	return out, next
}

// span sums over the last shadowSpan.
type span struct {
	slots [shadowSpan / shadowSlot]uint64
	// newest is the number of the newest slot since the epoch.
	newest int64
}

func (s *span) advance(now time.Time) {
	n := now.Unix() / int64(shadowSlot/time.Second)
	for i := max(s.newest+1, n-int64(len(s.slots))+1); i <= n; i++ {
		s.slots[i%int64(len(s.slots))] = 0
	}
	s.newest = max(s.newest, n)
}

func (s *span) add(now time.Time, n uint64) {
	s.advance(now)
	s.slots[s.newest%int64(len(s.slots))] += n
}

// spread adds n evenly.
func (s *span) spread(now time.Time, n uint64) {
	s.advance(now)
	slots := uint64(len(s.slots))
	for i := range slots {
		s.slots[i] += n / slots
		if i < n%slots {
			s.slots[i]++
		}
	}
}

func (s *span) sum(now time.Time) uint64 {
	s.advance(now)
	var total uint64
	for _, n := range s.slots {
		total += n
	}
	return total
}
