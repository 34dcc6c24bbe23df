// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
)

// TestSession plays testdata/session: what a server and a sidecar say to each
// other, hashes named A, B, … in the order in which they appear.
func TestSession(t *testing.T) {
	datadriven.RunTest(t, "testdata/session", func(t *testing.T, d *datadriven.TestData) string {
		p := play{names: map[string]string{}, snaps: map[string]*snapshot.Snapshot{}}
		for line := range strings.Lines(d.Input) {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			fmt.Fprintf(&p.out, "%s\n", line)
			p.step(t, line)
		}
		return p.out.String()
	})
}

// Policies are named without the kind of most, and with idp: for the other.
const (
	kindRateLimit   = stream.KindRateLimitPolicy + "/"
	kindIdempotency = stream.KindIdempotencyPolicy + "/"
)

func short(policy string) string {
	if name, ok := strings.CutPrefix(policy, kindIdempotency); ok {
		return "idp:" + name
	}
	return strings.TrimPrefix(policy, kindRateLimit)
}

type play struct {
	out   strings.Builder
	s     *session
	names map[string]string // hash -> letter
	named int
	snaps map[string]*snapshot.Snapshot
}

func (p *play) step(t *testing.T, line string) {
	t.Helper()
	f := strings.Fields(line)
	switch f[0] {
	case "hello":
		h := &stream.Hello{}
		if len(f) > 1 {
			h.LastHash = p.hash(f[1])
		}
		if len(f) > 2 {
			h.Serving = p.view(t, f[2:]).Snapshot
		}
		p.s = newSession(h, func(h string) (*snapshot.Snapshot, bool) {
			s, ok := p.snaps[h]
			return s, ok
		})
	case "view":
		p.print(p.s.see(p.view(t, f[1:])))
	case "ack":
		p.print(p.s.acked(p.hash(f[1])))
	case "nack":
		n := &stream.Nack{Hash: p.hash(f[1]), Reason: "no."}
		if len(f) > 2 {
			n.Policy = kindRateLimit + f[2]
			if name, ok := strings.CutPrefix(f[2], "idp:"); ok {
				n.Policy = kindIdempotency + name
			}
		}
		p.print(p.s.nacked(n))
	case "known": // the hub still remembers this snapshot
		v := p.view(t, f[1:])
		p.snaps[v.Hash] = v.Snapshot
		fmt.Fprintf(&p.out, "  %s\n", p.name(v.Hash))
		return
	default:
		t.Fatalf("no command %q", f[0])
	}
	p.state()
}

// view makes a view of words like pay@2 (a policy and its generation, one port
// each), idp:once@1 (which governs the port before it, or the first), key=v1,
// secrets=v1, peers=3.
func (p *play) view(t *testing.T, words []string) hub.View {
	t.Helper()
	snap := &snapshot.Snapshot{Workload: &snapshot.Workload{Cluster: "c", Namespace: "shop", Key: "w"}}
	v := hub.View{Workload: hub.Workload{Namespace: "shop", Key: "w"}}
	for _, w := range words {
		if s, ok := strings.CutPrefix(w, "secrets="); ok {
			v.Secrets = &stream.Secrets{Stores: []*stream.StoreCredentials{{Store: "default", Version: s}}}
			continue
		}
		if s, ok := strings.CutPrefix(w, "peers="); ok {
			n, err := strconv.ParseUint(s, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			v.Peers = &stream.Peers{Policies: []*stream.PolicyPeers{{Policy: "pay", ReadyPods: uint32(n)}}}
			continue
		}
		if s, ok := strings.CutPrefix(w, "key="); ok {
			v.Secrets = &stream.Secrets{NamespaceKey: &stream.NamespaceKey{Version: s}}
			snap.NamespaceKeyVersion = s
			continue
		}
		name, gen, _ := strings.Cut(w, "@")
		gen, store, _ := strings.Cut(gen, "/")
		g, err := strconv.ParseInt(gen, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(name, "idp:"); ok {
			snap.IdempotencyPolicies = append(snap.IdempotencyPolicies, &snapshot.IdempotencyPolicy{Name: name, Generation: g, Store: store})
			if len(snap.Ports) == 0 {
				snap.Ports = append(snap.Ports, &snapshot.Port{Number: 8000})
			}
			snap.Ports[len(snap.Ports)-1].IdempotencyPolicy = name
			continue
		}
		snap.RateLimitPolicies = append(snap.RateLimitPolicies, &snapshot.RateLimitPolicy{Name: name, Generation: g, Store: store})
		snap.Ports = append(snap.Ports, &snapshot.Port{Number: uint32(8000 + len(snap.Ports)), RateLimitPolicy: name})
		if store != "" {
			snap.Stores = append(snap.Stores, &snapshot.Store{Name: store})
		}
	}
	v.Cut = hub.Cut{Snapshot: snap, Hash: snapshot.Hash(snap)}
	return v
}

func (p *play) name(hash string) string {
	if hash == "" {
		return "-"
	}
	if p.names[hash] == "" {
		p.named++
		p.names[hash] = string(rune('A' + p.named - 1))
	}
	return p.names[hash]
}

func (p *play) hash(name string) string {
	for h, n := range p.names {
		if n == name {
			return h
		}
	}
	// A hash that the server has never seen is its own name.
	p.names[name] = name
	return name
}

func (p *play) print(out []*stream.ToSidecar) {
	for _, m := range out {
		switch m := m.GetMessage().(type) {
		case *stream.ToSidecar_Secrets:
			for _, s := range m.Secrets.GetStores() {
				fmt.Fprintf(&p.out, "  -> secrets %s\n", s.GetVersion())
			}
			if k := m.Secrets.GetNamespaceKey(); k != nil {
				fmt.Fprintf(&p.out, "  -> key %s\n", k.GetVersion())
			}
		case *stream.ToSidecar_Peers:
			fmt.Fprintf(&p.out, "  -> peers %d\n", m.Peers.GetPolicies()[0].GetReadyPods())
		case *stream.ToSidecar_Snapshot:
			fmt.Fprintf(&p.out, "  -> snapshot %s: %s\n", p.name(m.Snapshot.GetHash()), describe(m.Snapshot.GetSnapshot()))
		}
	}
}

func describe(s *snapshot.Snapshot) string {
	var b strings.Builder
	for i, port := range s.GetPorts() {
		var all []string
		for _, id := range snapshot.Governing(port) {
			all = append(all, short(id.String()))
		}
		governed := strings.Join(all, " and ")
		if governed == "" {
			governed = "none"
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s", port.GetNumber(), governed)
	}
	fmt.Fprintf(&b, "; %s", generations(hub.Generations(s)))
	for _, st := range s.GetStores() {
		fmt.Fprintf(&b, " store %s", st.GetName())
	}
	return b.String()
}

func generations(list []*stream.PolicyGeneration) string {
	var out []string
	for _, g := range list {
		out = append(out, fmt.Sprintf("%s@%d", short(g.GetPolicy()), g.GetGeneration()))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func (p *play) state() {
	st := &stream.PodState{}
	p.s.write(st)
	fmt.Fprintf(&p.out, "  acked %s %s", p.name(st.GetAckedHash()), generations(st.GetAcked()))
	if n := st.GetNack(); n != nil {
		fmt.Fprintf(&p.out, " nack %s %q", p.name(n.GetHash()), n.GetPolicy())
	}
	for _, n := range st.GetRefused() {
		fmt.Fprintf(&p.out, " refused %s", short(n.GetPolicy()))
	}
	p.out.WriteString("\n")
}
