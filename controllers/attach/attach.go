// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// Attach decides. It changes nothing of its input.
func Attach(in Input) Result {
	a := &attachment{
		world:     read(in),
		identity:  in.Identity.Canonical(),
		reached:   map[*slot]map[PolicyID]*candidate{},
		governing: map[*slot]map[string]*candidate{},
		verdicts:  map[*slot]map[PolicyID]problem{},
	}
	policies := slices.Clone(in.Policies)
	slices.SortFunc(policies, func(x, y Policy) int { return strings.Compare(x.ID.String(), y.ID.String()) })
	for i := range policies {
		a.reach(&policies[i])
	}
	for s, candidates := range a.reached {
		a.decide(s, candidates)
	}
	out := Result{Targets: map[PolicyID][]Target{}}
	for i := range policies {
		out.Targets[policies[i].ID] = a.targets(&policies[i])
	}
	for _, l := range a.workloads {
		out.Workloads = append(out.Workloads, a.workload(l))
	}
	for _, p := range a.unselected {
		out.Unselected = append(out.Unselected, p.Pod)
	}
	return out
}

type attachment struct {
	*world
	identity config.Identity
	// reached are the policies that target a slot.
	reached map[*slot]map[PolicyID]*candidate
	// governing are the winners by kind.
	governing map[*slot]map[string]*candidate
	// verdicts are why the others are not.
	verdicts map[*slot]map[PolicyID]problem
}

// candidate is a policy at a slot.
type candidate struct {
	*Policy
	// section says that a targetRef names the port.
	section bool
}

// slots are what a target reaches: of each workload of the Service, and of the
// Service itself where it has no pod.
func (a *attachment) slots(s *service, section string) []*slot {
	ports := s.section(section)
	var out []*slot
	add := func(candidate *slot) {
		if slices.ContainsFunc(candidate.ways, func(w way) bool {
			return w.service == s && slices.ContainsFunc(ports, func(p servicePort) bool { return p.Port == w.port.Port && p.Name == w.port.Name })
		}) {
			out = append(out, candidate)
		}
	}
	for _, l := range a.of[s] {
		numbers := make([]uint16, 0, len(l.slots))
		for n := range l.slots {
			numbers = append(numbers, n)
		}
		slices.Sort(numbers)
		for _, n := range numbers {
			add(l.slots[n])
		}
	}
	for _, e := range a.empty[s.name] {
		add(e)
	}
	return out
}

func (a *attachment) reach(p *Policy) {
	for _, ref := range p.Targets {
		s := a.services[string(ref.Name)]
		if s == nil || s.target(string(ref.SectionName)).reason != "" {
			continue
		}
		for _, sl := range a.slots(s, string(ref.SectionName)) {
			at := a.reached[sl]
			if at == nil {
				at = map[PolicyID]*candidate{}
				a.reached[sl] = at
			}
			if at[p.ID] == nil {
				at[p.ID] = &candidate{Policy: p}
			}
			at[p.ID].section = at[p.ID].section || ref.SectionName != ""
		}
	}
}

// decide finds who governs a slot, and why the others do not.
func (a *attachment) decide(s *slot, candidates map[PolicyID]*candidate) {
	wins, loses := map[string]*candidate{}, map[PolicyID]problem{}
	a.governing[s], a.verdicts[s] = wins, loses
	here := s.problem()
	byKind := map[string][]*candidate{}
	for id, c := range candidates {
		if why := c.problemAt(s, here); why.reason != "" {
			loses[id] = why
			continue
		}
		byKind[id.Kind] = append(byKind[id.Kind], c)
	}
	for kind, list := range byKind {
		slices.SortFunc(list, compare)
		wins[kind] = list[0]
		for _, c := range list[1:] {
			loses[c.ID] = problem{v1alpha1.ReasonConflicted, fmt.Sprintf(
				"%s is governed by %s, which %s.", upper(s.label()), list[0].ID, advantage(list[0], c))}
		}
	}
	// What one policy makes of a port that says nothing may be too much for another.
	protocol := spoken(s, wins)
	for kind, c := range wins {
		if why := c.problemUnder(s, protocol); why.reason != "" {
			delete(wins, kind)
			loses[c.ID] = why
		}
	}
}

// spoken is what a port speaks, for all that govern it: AUTO where they differ.
func spoken(s *slot, wins map[string]*candidate) snapshot.Protocol {
	out := snapshot.Protocol_PROTOCOL_AUTO
	for _, c := range wins {
		at := c.protocolAt(s)
		if at == snapshot.Protocol_PROTOCOL_AUTO {
			continue
		}
		if out != snapshot.Protocol_PROTOCOL_AUTO && out != at {
			return snapshot.Protocol_PROTOCOL_AUTO
		}
		out = at
	}
	return out
}

func (c *candidate) problemAt(s *slot, here problem) problem {
	if here.reason != "" {
		return here
	}
	return c.problemUnder(s, c.protocolAt(s))
}

// problemUnder is why a policy cannot be enforced at a port that speaks protocol.
func (c *candidate) problemUnder(s *slot, protocol snapshot.Protocol) problem {
	thrift := protocol == snapshot.Protocol_PROTOCOL_THRIFT
	switch {
	case !slices.Contains(c.Enforceable, protocol):
	case c.Only == snapshot.Protocol_PROTOCOL_HTTP && thrift, c.Only == snapshot.Protocol_PROTOCOL_THRIFT && !thrift && protocol != snapshot.Protocol_PROTOCOL_AUTO:
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"%s speaks %s, and %s matches nothing of it: name other ports in targetRefs, or add a match.", upper(s.label()), ProtocolName(protocol), c.ID)}
	default:
		return problem{}
	}
	return problem{v1alpha1.ReasonUnsupported, fmt.Sprintf(
		"%s speaks %s, for which this version of Weir does not support %s.", upper(s.label()), ProtocolName(protocol), c.ID.Kind)}
}

func (c *candidate) protocolAt(s *slot) snapshot.Protocol {
	if p, _ := s.protocol(); p != snapshot.Protocol_PROTOCOL_AUTO {
		return p
	}
	return c.Matches
}

// compare puts the one first that wins.
func compare(a, b *candidate) int {
	if a.section != b.section {
		if a.section {
			return -1
		}
		return 1
	}
	return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID.Name, b.ID.Name))
}

func advantage(winner, loser *candidate) string {
	switch {
	case winner.section && !loser.section:
		return "names the port in sectionName"
	case winner.Created.Before(loser.Created):
		return "is older"
	default:
		return "is as old and whose name comes first"
	}
}

func (a *attachment) workload(l *workload) Workload {
	out := Workload{Key: l.key}
	for _, s := range l.services {
		out.Services = append(out.Services, s.name)
	}
	for _, p := range l.pods {
		out.Pods = append(out.Pods, p.Pod)
	}
	identity := l.identity(a.identity)
	for n, s := range l.slots {
		if s.opaque() {
			out.Ports = append(out.Ports, Port{Number: n, Protocol: snapshot.Protocol_PROTOCOL_OPAQUE, Names: s.names()})
			continue
		}
		wins := a.governing[s]
		idl, _ := s.idl()
		if len(wins) == 0 && (idl == nil || podspec.Reserved(n)) {
			continue
		}
		p := Port{
			Number: n, Protocol: spoken(s, wins), Policies: map[string]string{},
			Identity: identity, PassEncodedSlashes: s.passSlashes(), Names: s.names(),
			Timeouts: s.timeouts(), MaxBody: s.maxBody(), IDL: idl,
		}
		if idl != nil {
			p.Protocol = snapshot.Protocol_PROTOCOL_HTTP
		}
		for kind, c := range wins {
			p.Policies[kind] = c.ID.Name
		}
		out.Ports = append(out.Ports, p)
	}
	slices.SortFunc(out.Ports, func(x, y Port) int { return cmp.Compare(x.Number, y.Number) })
	return out
}
