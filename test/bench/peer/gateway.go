// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/test/bench/process"
)

// EnvoyGlobal starts an Envoy that asks a rate limit service about each request, and
// that service, `weir-sidecar rls` with fixed windows in the Redis.
func (s Shared) EnvoyGlobal(ctx context.Context, envoy, weir string) (*Peer, error) {
	addrs, err := addresses(7)
	if err != nil {
		return nil, err
	}
	service, err := s.service(ctx, weir, addrs[5], addrs[6])
	if err != nil {
		return nil, err
	}
	v := s.values(addrs)
	v.Service = portOf(addrs[5])
	v.Listeners = []listenerValues{{"open", portOf(addrs[0]), Never}, {"tight", portOf(addrs[1]), Tight}, {"half", portOf(addrs[3]), 0}, {"none", portOf(addrs[4]), 0}}
	p, err := s.envoyGlobal(ctx, envoy, v)
	if err != nil {
		service.Stop()
		return nil, err
	}
	peer := &Peer{
		Process: p, Service: service, Open: v.Open, Denying: v.Denying, Half: addrs[3], Spliced: addrs[4],
		Metrics:  "http://" + v.Admin + "/stats/prometheus",
		Requests: regexp.MustCompile(`(?m)^envoy_http_downstream_rq_total\{[^}]*\} (\d+)$`),
	}
	return peer, peer.identify(ctx, regexp.MustCompile(`/(\d+\.\d+\.\d+)/`), envoy, "--version")
}

func (s Shared) envoyGlobal(ctx context.Context, envoy string, v values) (*process.Process, error) {
	config, err := s.write("envoy-global.yaml.tmpl", "envoy-global.yaml", v)
	if err != nil {
		return nil, err
	}
	return process.Start(ctx, process.Command{
		Name: "envoy-global", Core: s.Core, Address: v.Open, Log: filepath.Join(s.Folder, "envoy-global.log"),
		Args: []string{envoy, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"},
	})
}

// service is the rate limit service, with the algorithm of the service that is Envoy's
// own project's.
func (s Shared) service(ctx context.Context, weir, listen, admin string) (*process.Process, error) {
	snap := s.snapshot("service", algorithm{kind: snapshot.Algorithm_ALGORITHM_FIXED_WINDOW})
	if err := snapshot.Validate(snap); err != nil {
		return nil, err
	}
	b, err := protojson.Marshal(snap)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Folder, "service.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	return process.Start(ctx, process.Command{
		Name: "rls", Core: s.ServiceCore, Address: listen, Log: filepath.Join(s.Folder, "service.log"),
		Args: []string{weir, "rls", "--snapshot", file, "--listen", listen, "--admin", admin},
		Env:  goSettings(),
	})
}

// goSettings are what the operator sets in a pod with a CPU limit of 1.
func goSettings() []string {
	return []string{"GOMAXPROCS=1", fmt.Sprintf("GOMEMLIMIT=%d", (128<<20)/10*9)}
}
