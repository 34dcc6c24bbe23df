// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"weir.dev/weir/test/bench/process"
)

// TestPeers: what is installed does what is compared. Envoy and Weir are taken from
// ENVOY and WEIR_SIDECAR, since neither is a package of the system.
func TestPeers(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx, which the origin is, is not installed")
	}
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("taskset is not installed")
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	origin, address, err := Origin(t.Context(), folder, nginx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Stop()
	s := Setup{Folder: folder, Origin: address, Core: 0}
	for name, start := range map[string]func(context.Context, string) (*Peer, error){
		nginx:                     s.Nginx,
		"haproxy":                 s.HAProxy,
		os.Getenv("ENVOY"):        s.Envoy,
		os.Getenv("WEIR_SIDECAR"): func(ctx context.Context, binary string) (*Peer, error) { return s.Weir(ctx, "weir", binary, nil) },
	} {
		if name == "" {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			binary, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("%s is not installed", name)
			}
			p, err := start(t.Context(), binary)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Stop()
			f, err := p.Verify(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: %+v", p.Version, f)
		})
	}
}

// A proxy that does not limit is found out.
func TestVerifyFindsOut(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var origin *process.Process
	origin, address, err := Origin(t.Context(), folder, nginx, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Stop()
	p := &Peer{Process: origin, Open: address, Denying: address, Metrics: "http://" + address + "/small", Requests: regexp.MustCompile(`(\d+)`)}
	if _, err := p.Verify(t.Context()); err == nil {
		t.Error("an origin passes for a proxy")
	}
}

func TestCount(t *testing.T) {
	haproxy := regexp.MustCompile(`(?m)^x_total\{[^}]*\} (\d+)$`)
	got, err := count(haproxy, "# HELP x_total\nx_total{proxy=\"a\"} 3\nx_total{proxy=\"b\"} 40\ny_total{} 5\n")
	if err != nil || got != 43 {
		t.Errorf("got %d, %v, want 43", got, err)
	}
}
