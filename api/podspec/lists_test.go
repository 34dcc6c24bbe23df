// SPDX-License-Identifier: Apache-2.0

package podspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/podspec"
)

func TestProbesRoundTrip(t *testing.T) {
	want := []podspec.Probe{
		{Container: "app", Kind: podspec.ProbeReadiness, TimeoutSeconds: 3, HTTPGet: &podspec.HTTPGet{
			Scheme: "HTTPS", Port: 8443, Path: "/ready?x=1", Headers: []podspec.Header{{Name: "Host", Value: "shop"}},
		}},
		{Container: "app", Kind: podspec.ProbeLiveness, TCPSocket: &podspec.TCPSocket{Port: 8080}},
		{Container: "db", Kind: podspec.ProbeStartup, GRPC: &podspec.GRPC{Port: 9000, Service: "db"}},
	}
	s, err := podspec.EncodeProbes(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := podspec.DecodeProbes(s)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("probes after a round trip (-want +got):\n%s", d)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"unknown field": {`[{"container":"a","kind":"liveness","httpGet":{"port":1,"colour":"red"}}]`, "colour"},
		"no action":     {`[{"container":"a","kind":"liveness"}]`, "/probe/a/liveness has 0 actions"},
		"two actions":   {`[{"container":"a","kind":"liveness","httpGet":{"port":1},"tcpSocket":{"port":1}}]`, "2 actions"},
		"twice":         {`[{"container":"a","kind":"liveness","tcpSocket":{"port":1}},{"container":"a","kind":"liveness","tcpSocket":{"port":2}}]`, "twice"},
		"not JSON":      {`x`, podspec.EnvProbes},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := podspec.DecodeProbes(tc.in)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestNothingIsEmpty(t *testing.T) {
	s, err := podspec.EncodeNamedPorts(nil)
	if s != "" || err != nil {
		t.Errorf("EncodeNamedPorts(nil) = %q, %v", s, err)
	}
	got, err := podspec.DecodeNamedPorts("")
	if got != nil || err != nil {
		t.Errorf("DecodeNamedPorts(\"\") = %v, %v", got, err)
	}
}
