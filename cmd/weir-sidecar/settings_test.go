// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/snapshot"
)

func TestReadPod(t *testing.T) {
	good := map[string]string{
		podspec.EnvOperator: "weir-operator.weir-system.svc:8443", podspec.EnvPodIPs: "10.0.0.7,fd00::7",
		podspec.EnvPodName: "one", podspec.EnvPodNamespace: "shop", podspec.EnvCapture: podspec.CaptureRedirect,
	}
	for name, tc := range map[string]struct {
		env     map[string]string
		wantErr string
		check   func(podSettings) bool
	}{
		"as little as possible": {nil, "", func(p podSettings) bool {
			return p.redirect && !p.passThrough && p.ip == netip.MustParseAddr("10.0.0.7") && p.level == slog.LevelInfo
		}},
		"named ports": {
			map[string]string{podspec.EnvCapture: podspec.CaptureNamedPort, podspec.EnvNamedPorts: `[{"name":"http","listen":16010,"port":8080}]`},
			"", func(p podSettings) bool { return !p.redirect && len(p.namedPorts) == 1 && p.namedPorts[0].Port == 8080 },
		},
		"pass through":    {map[string]string{podspec.EnvOnMissingConfig: podspec.MissingPassThrough}, "", func(p podSettings) bool { return p.passThrough }},
		"IPv6 only":       {map[string]string{podspec.EnvPodIPs: "fd00::7"}, "", func(p podSettings) bool { return p.ip.Is6() }},
		"debug":           {map[string]string{podspec.EnvLogLevel: "debug"}, "", func(p podSettings) bool { return p.level == slog.LevelDebug }},
		"no operator":     {map[string]string{podspec.EnvOperator: ""}, podspec.EnvOperator, nil},
		"no address":      {map[string]string{podspec.EnvPodIPs: ""}, podspec.EnvPodIPs, nil},
		"capture Auto":    {map[string]string{podspec.EnvCapture: podspec.CaptureAuto}, podspec.EnvCapture, nil},
		"bad probes":      {map[string]string{podspec.EnvProbes: "[{}]"}, podspec.EnvProbes, nil},
		"bad named ports": {map[string]string{podspec.EnvNamedPorts: "x"}, podspec.EnvNamedPorts, nil},
		"bad missing":     {map[string]string{podspec.EnvOnMissingConfig: "Maybe"}, podspec.EnvOnMissingConfig, nil},
		"bad level":       {map[string]string{podspec.EnvLogLevel: "loud"}, podspec.EnvLogLevel, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := readPod(func(key string) string {
				if v, ok := tc.env[key]; ok {
					return v
				}
				return good[key]
			})
			switch {
			case tc.wantErr == "" && err != nil:
				t.Errorf("error %v", err)
			case tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)):
				t.Errorf("error %v, want one that names %s", err, tc.wantErr)
			case tc.check != nil && !tc.check(p):
				t.Errorf("settings %+v", p)
			}
		})
	}
}

func TestParseListener(t *testing.T) {
	snap := &snapshot.Snapshot{Ports: []*snapshot.Port{
		{Number: 20001, Names: []string{"payments/http", "payments/20001"}},
		{Number: 20002, Names: []string{"orders/http"}},
	}}
	const rest = ",listen=127.0.0.1:1,upstream=[::1]:2"
	for name, tc := range map[string]struct {
		in      string
		want    uint16
		wantErr string
	}{
		"by name":        {"name=orders/http" + rest, 20002, ""},
		"by number":      {"name=payments/20001" + rest, 20001, ""},
		"any port":       {"port=9" + rest, 9, ""},
		"unknown name":   {"name=cart/http" + rest, 0, "it has payments/http, payments/20001, orders/http"},
		"neither":        {rest[1:], 0, "one of name and port"},
		"both":           {"name=orders/http,port=9" + rest, 0, "one of name and port"},
		"port 0":         {"port=0" + rest, 0, "between 1 and 65535"},
		"port too large": {"port=65536" + rest, 0, "between 1 and 65535"},
		"no upstream":    {"port=9,listen=:1", 0, "upstream"},
		"no listen":      {"port=9,upstream=a:1", 0, "listen"},
		"unknown key":    {"port=9,colour=red" + rest, 0, "colour"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseListener(tc.in, snap)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v, want one with %q", err, tc.wantErr)
				}
				return
			}
			want := bareListener{port: tc.want, listen: "127.0.0.1:1", upstream: "[::1]:2"}
			if err != nil || got != want {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
	if _, err := parseListener("name=a/b"+rest, &snapshot.Snapshot{}); err == nil || !strings.Contains(err.Error(), "use port=NUMBER") {
		t.Errorf("a snapshot without ports: %v", err)
	}
}

func TestParsePorts(t *testing.T) {
	got, err := parsePorts("22, 9090,65535")
	if d := cmp.Diff([]uint16{22, 9090, 65535}, got); d != "" || err != nil {
		t.Errorf("error %v, ports (-want +got):\n%s", err, d)
	}
	if got, err := parsePorts(""); got != nil || err != nil {
		t.Errorf("none: %v, %v", got, err)
	}
	for _, bad := range []string{"0", "65536", "http", "1,,2", "-1"} {
		if _, err := parsePorts(bad); err == nil {
			t.Errorf("%q is taken for ports", bad)
		}
	}
}
