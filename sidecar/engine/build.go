// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/delivery"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/jwt"
)

// slotRateLimit is where the rate limit filter keeps its memory in exchanges.
const slotRateLimit = 0

// build makes a program of a snapshot. Until commit it changes nothing that
// serves; what it starts, abandon ends.
type build struct {
	e       *Engine
	snap    *snapshot.Snapshot
	stores  map[string]*sharedStore
	started []*sharedStore
	filters map[string]*ratelimit.Filter
	// recorders are the filters of idempotency policies.
	recorders map[string]*idempotency.Filter
	// limits are the `<policy>/<limit>` of the program.
	limits map[string]bool
	tokens map[string]*jwt.Provider
	// byAddress are the policies of which a limit counts by the client's address,
	// crowds what watches their ports.
	byAddress map[string]bool
	crowds    map[uint16]*crowd
}

func newBuild(e *Engine, snap *snapshot.Snapshot) *build {
	return &build{e: e, snap: snap,
		stores:  map[string]*sharedStore{},
		filters: map[string]*ratelimit.Filter{},

		recorders: map[string]*idempotency.Filter{},

		limits: map[string]bool{},
		tokens: map[string]*jwt.Provider{},

		byAddress: map[string]bool{},
		crowds:    map[uint16]*crowd{},
	}
}

func (b *build) program() (*program, error) {
	if err := b.openStores(); err != nil {
		return nil, err
	}
	if err := b.openTokens(); err != nil {
		return nil, err
	}
	for _, p := range b.snap.GetRateLimitPolicies() {
		if err := b.policy(p); err != nil {
			return nil, err
		}
	}
	for _, p := range b.snap.GetIdempotencyPolicies() {
		if err := b.idempotency(p); err != nil {
			return nil, err
		}
	}
	prog := &program{ports: map[uint16]*exchange.Port{}}
	for _, p := range b.snap.GetPorts() {
		port, err := b.port(p)
		if err != nil {
			return nil, err
		}
		if prog.ports[port.Number] != nil {
			return nil, refuse("Port %d comes twice.", port.Number)
		}
		prog.ports[port.Number] = port
	}
	return prog, nil
}

func (b *build) policy(p *snapshot.RateLimitPolicy) error {
	name := p.GetName()
	if !nameForm.fits(name) {
		return refuse("RateLimitPolicy %q: the name is no Kubernetes name.", name)
	}
	if b.filters[name] != nil {
		return refusePolicy(name, "The policy comes twice.")
	}
	env := ratelimit.Env{
		Namespace: b.snap.GetWorkload().GetNamespace(),
		Slot:      slotRateLimit,
		Table:     func(id string) ratelimit.Table { return b.e.tables.Table(id) },
		Bans:      func(id string) ratelimit.Bans { return b.e.tables.Bans(id) },
		WouldDeny: func(id string) *atomic.Uint64 { b.limits[id] = true; return b.e.shadowOf(id) },
		Peers:     b.e.peersOf(name),
		Random:    rand.Int64N,
		Tokens:    b.tokensOf,
	}
	if b.e.opts.Metrics != nil {
		env.Metrics = b.e.opts.Metrics
	}
	if p.GetStore() != "" {
		s := b.stores[p.GetStore()]
		if s == nil {
			return refusePolicy(name, "store %q is not in the snapshot.", p.GetStore())
		}
		env.Store = s.ratelimit()
		env.Leases = func(id string) ratelimit.Leases { return s.leasesOf(id, b.e.now) }
		env.Denials = func(id string) ratelimit.Denials { return b.e.tables.Denials(id, s.redis) }
	} else if hasClusterScope(p) {
		return refusePolicy(name, "A limit has scope Cluster, but the policy names no store.")
	}
	f, err := ratelimit.Compile(p, env)
	if err != nil {
		return refusePolicy(name, "%s.", sentence(err))
	}
	b.filters[name] = f
	b.byAddress[name] = byAddress(p)
	return nil
}

func hasClusterScope(p *snapshot.RateLimitPolicy) bool {
	for _, l := range p.GetLimits() {
		if l.GetScope() == snapshot.Scope_SCOPE_CLUSTER {
			return true
		}
	}
	return false
}

func (b *build) port(p *snapshot.Port) (*exchange.Port, error) {
	if p.GetNumber() < 1 || p.GetNumber() > 65535 {
		return nil, refuse("Port %d is not between 1 and 65535.", p.GetNumber())
	}
	protocol, ok := protocols[p.GetProtocol()]
	if !ok {
		return nil, refuse("Port %d: protocol %d is unknown.", p.GetNumber(), p.GetProtocol())
	}
	identity, err := compileIdentity(p.GetIdentity())
	if err != nil {
		return nil, refuse("Port %d: identity: %s.", p.GetNumber(), err)
	}
	if err := snapshot.ValidateTimeouts(p); err != nil {
		return nil, refuse("Port %d: %s.", p.GetNumber(), err)
	}
	port := &exchange.Port{
		Number:             uint16(p.GetNumber()),
		Protocol:           protocol,
		Identity:           identity,
		PassEncodedSlashes: p.GetPassEncodedSlashes(),
		MaxBody:            int64(p.GetMaxBodyBytes()),
	}
	for _, t := range p.GetTimeouts() {
		port.Timeouts = append(port.Timeouts, exchange.RouteTimeout{
			Prefix: t.GetPrefix(), Response: time.Duration(t.GetResponseMilliseconds()) * time.Millisecond,
		})
	}
	if port.Chain, err = b.chain(p, port); err != nil {
		return nil, err
	}
	b.calls(p, port)
	if err := b.transcode(p, port); err != nil {
		return nil, err
	}
	return port, nil
}

// chain is the filters of a port in the order of design: whose request it is first, then
// limits, which what is replayed counts for too, then records.
func (b *build) chain(p *snapshot.Port, port *exchange.Port) (exchange.Chain, error) {
	for _, id := range snapshot.Governing(p) {
		switch {
		case id.Kind == snapshot.KindRateLimitPolicy && b.filters[id.Name] == nil,
			id.Kind == snapshot.KindIdempotencyPolicy && b.recorders[id.Name] == nil:
			return nil, refuseThe(id, "Port %d names the policy, but it is not in the snapshot.", port.Number)
		case port.Protocol == exchange.Opaque:
			return nil, refuseThe(id, "Port %d is opaque: no policy can govern it.", port.Number)
		case port.Protocol == exchange.Thrift && id.Kind != snapshot.KindRateLimitPolicy:
			return nil, refuseThe(id, "Port %d speaks Thrift, of which nothing is recorded.", port.Number)
		}
	}
	var out exchange.Chain
	recorder := b.recorders[p.GetIdempotencyPolicy()]
	if recorder != nil {
		out = append(out, delivery.New(&b.e.ring, time.Now))
	}
	if f := b.filters[p.GetRateLimitPolicy()]; f != nil {
		var filter exchange.Filter = f.Under(port.Identity)
		if b.byAddress[p.GetRateLimitPolicy()] {
			filter = &crowdFilter{Filter: filter, crowd: b.crowdOf(port)}
		}
		out = append(out, filter)
	}
	if recorder != nil {
		out = append(out, recorder)
	}
	return out, nil
}

var protocols = map[snapshot.Protocol]exchange.Protocol{
	snapshot.Protocol_PROTOCOL_HTTP:      exchange.HTTP,
	snapshot.Protocol_PROTOCOL_H2C:       exchange.H2C,
	snapshot.Protocol_PROTOCOL_GRPC:      exchange.GRPC,
	snapshot.Protocol_PROTOCOL_WEBSOCKET: exchange.WebSocket,
	snapshot.Protocol_PROTOCOL_THRIFT:    exchange.Thrift,
	snapshot.Protocol_PROTOCOL_AUTO:      exchange.Auto,
	snapshot.Protocol_PROTOCOL_OPAQUE:    exchange.Opaque,
}

func compileIdentity(id *snapshot.Identity) (*exchange.Identity, error) {
	if len(id.GetTrustedProxies()) > maxIdentity || len(id.GetIdentityHeaders()) > maxIdentity {
		return nil, fmt.Errorf("more than %d trusted proxies or headers", maxIdentity)
	}
	out := &exchange.Identity{}
	for _, s := range id.GetTrustedProxies() {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q is no CIDR", s)
		}
		if p.Addr().Is4In6() {
			return nil, fmt.Errorf("trusted proxy %q is an IPv4 address written as IPv6", s)
		}
		out.TrustedProxies = append(out.TrustedProxies, p.Masked())
	}
	for _, h := range id.GetIdentityHeaders() {
		if h == "" || len(h) > maxString || h != strings.ToLower(h) {
			return nil, fmt.Errorf("header name %q is empty, too long or not in lower case", h)
		}
		out.Headers = append(out.Headers, h)
	}
	return out, nil
}

// sentence gives an error a capital letter.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}
