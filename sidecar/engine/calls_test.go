// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/engine"
)

// Names of methods that policies have are those that metrics may have.
func TestMethodsOfThrift(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	s := podPolicy(5)
	s.Ports[0].Protocol = snapshot.Protocol_PROTOCOL_THRIFT
	p := s.GetRateLimitPolicies()[0]
	p.Limits[0].Match = []*snapshot.Match{{Kind: &snapshot.Match_Thrift{Thrift: &snapshot.ThriftMatch{Service: "Payments", Methods: []string{"charge"}}}}}
	p.Thrift = &snapshot.ThriftAnswers{OnewayMethods: []string{"note"}}
	apply(t, e, s)
	port, _ := e.Port(uint16(s.Ports[0].GetNumber()))
	want := map[string]string{"charge": "charge", "Payments:charge": "Payments.charge", "note": "note"}
	if d := cmp.Diff(want, port.Methods); d != "" || !port.Calls {
		t.Errorf("calls %v, methods (-want +got):\n%s", port.Calls, d)
	}
	s = podPolicy(5)
	s.Ports[0].Protocol = snapshot.Protocol_PROTOCOL_THRIFT
	for i := range 16 {
		m := &snapshot.ThriftMatch{}
		for j := range 64 {
			m.Methods = append(m.Methods, fmt.Sprintf("m%02d%02d", i, j))
		}
		s.GetRateLimitPolicies()[0].Limits[0].Match = append(s.GetRateLimitPolicies()[0].Limits[0].Match, &snapshot.Match{Kind: &snapshot.Match_Thrift{Thrift: m}})
	}
	apply(t, e, s)
	if port, _ = e.Port(uint16(s.Ports[0].GetNumber())); len(port.Methods) != 512 {
		t.Errorf("%d methods are counted by name, want 512", len(port.Methods))
	}
	for protocol, want := range map[snapshot.Protocol]bool{snapshot.Protocol_PROTOCOL_AUTO: true, snapshot.Protocol_PROTOCOL_HTTP: false} {
		s := podPolicy(5)
		s.Ports[0].Protocol = protocol
		apply(t, e, s)
		if port, _ = e.Port(uint16(s.Ports[0].GetNumber())); port.Calls != want {
			t.Errorf("%s: calls %v, want %v", protocol, port.Calls, want)
		}
	}
}

func TestAnswersToCallsAreRefused(t *testing.T) {
	e := engine.New(engine.Options{})
	defer e.Close()
	for name, answers := range map[string]*snapshot.ThriftAnswers{
		"a field beyond i16": {ExceptionField: 32768},
		"a code below 0":     {ExceptionCode: -1},
		"too many of a list": {OnewayMethods: strings.Split(strings.Repeat("m,", 64)+"m", ",")},
		"a field below 0":    {ExceptionField: -1},
	} {
		s := podPolicy(5)
		s.GetRateLimitPolicies()[0].Thrift = answers
		if err := e.Apply(s); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
