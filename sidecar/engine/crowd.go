// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

const (
	// sampleEvery request is looked at.
	sampleEvery = 64
	// fewPeers are as many as stand for everybody behind an ingress.
	fewPeers = 3
	// leastSamples are what a verdict needs; at mostSamples all counts are halved, so
	// that what was is forgotten.
	leastSamples, mostSamples = 32, 1024
	// A crowd is one above few of ten requests, and no more below less of ten.
	few, less = 9, 8
	// maxCrowd peers are counted at once.
	maxCrowd = 16
)

// crowd watches whether the requests of a port come from few peers that speak for
// others: X-Forwarded-For is there, and nobody trusts it. Then limits by clientIP
// count everybody behind such a peer as one client.
type crowd struct {
	identity *exchange.Identity
	requests atomic.Uint32
	is       atomic.Bool

	mu    sync.Mutex
	total uint32
	// peers are counted by the Space-Saving algorithm (Metwally et al., 2005): what
	// has no place takes that of the smallest, whose count it may owe.
	peers []peerCount
}

type peerCount struct {
	addr       netip.Addr
	seen, owed uint32
}

// tick reports whether a request is to be seen.
func (c *crowd) tick() bool { return c.requests.Add(1)%sampleEvery == 0 }

func (c *crowd) see(x *exchange.Exchange) {
	_, forwarded := x.Request.Header("x-forwarded-for")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	if forwarded > 0 && !c.identity.Trusts(x.Peer) {
		c.count(x.Peer)
	}
	if c.total >= leastSamples {
		top := c.top()
		switch {
		case top*10 > c.total*few:
			c.is.Store(true)
		case top*10 < c.total*less:
			c.is.Store(false)
		}
	}
	if c.total >= mostSamples {
		c.total /= 2
		for i := range c.peers {
			c.peers[i].seen /= 2
			c.peers[i].owed /= 2
		}
	}
}

func (c *crowd) count(addr netip.Addr) {
	least := 0
	for i := range c.peers {
		if c.peers[i].addr == addr {
			c.peers[i].seen++
			return
		}
		if c.peers[i].seen < c.peers[least].seen {
			least = i
		}
	}
	if len(c.peers) < maxCrowd {
		c.peers = append(c.peers, peerCount{addr: addr, seen: 1})
		return
	}
	n := c.peers[least].seen
	c.peers[least] = peerCount{addr: addr, seen: n + 1, owed: n}
}

// top is how many samples the largest peers have for certain.
func (c *crowd) top() uint32 {
	var largest [fewPeers]uint32
	for i := range c.peers {
		n := c.peers[i].seen - c.peers[i].owed
		for j := range largest {
			if n > largest[j] {
				n, largest[j] = largest[j], n
			}
		}
	}
	return largest[0] + largest[1] + largest[2]
}

// crowdFilter lets a crowd see some of the requests of a filter.
type crowdFilter struct {
	exchange.Filter
	crowd *crowd
}

// Head implements exchange.Filter.
func (f *crowdFilter) Head(x *exchange.Exchange) exchange.Verdict {
	if f.crowd.tick() {
		f.crowd.see(x)
	}
	return f.Filter.Head(x)
}

// byAddress reports whether a limit of the policy counts by the client's address.
func byAddress(p *snapshot.RateLimitPolicy) bool {
	return slices.ContainsFunc(p.GetLimits(), func(l *snapshot.Limit) bool {
		return slices.ContainsFunc(l.GetKey(), func(k *snapshot.KeyPart) bool { return k.GetClientIp() != nil })
	})
}

// crowdOf goes on with what was seen at a port, as long as the same proxies are
// trusted there.
func (b *build) crowdOf(port *exchange.Port) *crowd {
	c := b.e.crowds[port.Number]
	if c == nil || !slices.Equal(c.identity.TrustedProxies, port.Identity.TrustedProxies) {
		c = &crowd{identity: port.Identity}
	}
	b.crowds[port.Number] = c
	return c
}
