// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/test/bench/process"
)

// Container ports of the snapshot.
const (
	portOpen    = 8001
	portTight   = 8002
	portSpliced = 8003
)

// Weir starts weir-sidecar with one compiled snapshot; telemetry may be nil. Its
// standard output is read and its lines are counted.
func (s Setup) Weir(ctx context.Context, name, binary string, telemetry *snapshot.Telemetry) (*Peer, error) {
	return s.launch(ctx, name, binary, weirSnapshot(telemetry))
}

// launch starts weir-sidecar with a listener for each port of the snapshot, and one
// for a port that it does not have; more are arguments besides.
func (s Setup) launch(ctx context.Context, name, binary string, snap *snapshot.Snapshot, more ...string) (*Peer, error) {
	addrs, err := addresses(len(snap.GetPorts()) + 2)
	if err != nil {
		return nil, err
	}
	if err := snapshot.Validate(snap); err != nil {
		return nil, err
	}
	b, err := protojson.Marshal(snap)
	if err != nil {
		return nil, err
	}
	id := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	file := filepath.Join(s.Folder, id+".json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	admin := addrs[0]
	args := append([]string{binary, "--snapshot", file, "--admin", admin}, more...)
	at := map[uint32]string{portSpliced: addrs[1]}
	for i, p := range snap.GetPorts() {
		at[p.GetNumber()] = addrs[2+i]
	}
	for port, address := range at {
		args = append(args, fmt.Sprintf("--listener=port=%d,listen=%s,upstream=%s", port, address, s.Origin))
	}
	p, err := process.Start(ctx, process.Command{
		Name: name, Core: s.Core, Args: args, Env: goSettings(),
		Log: filepath.Join(s.Folder, id+".log"), Address: admin, CountOutput: true,
	})
	if err != nil {
		return nil, err
	}
	peer := &Peer{
		Process: p, Open: at[portOpen], Denying: at[portTight], Spliced: at[portSpliced], Half: at[portHalf], Shared: at[portShared],
		Metrics:  "http://" + admin + "/metrics",
		Requests: regexp.MustCompile(`(?m)^weir_request_duration_seconds_count\{[^}]*\} (\d+)$`),
	}
	return peer, peer.identify(ctx, regexp.MustCompile(`^(\S+)`), binary, "version")
}

// weirSnapshot has the default algorithm of a RateLimitPolicy, counted in the pod.
func weirSnapshot(telemetry *snapshot.Telemetry) *snapshot.Snapshot {
	policy := func(name string, limit uint64) *snapshot.RateLimitPolicy {
		return &snapshot.RateLimitPolicy{
			Name: name, Generation: 1,
			FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
			Headers:       snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits: []*snapshot.Limit{{
				Name:         "client",
				Key:          []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
				OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
				Algorithm:    snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW,
				Limit:        limit, WindowSeconds: Window,
				Scope: snapshot.Scope_SCOPE_POD,
			}},
		}
	}
	return &snapshot.Snapshot{
		Workload:          &snapshot.Workload{Cluster: "local", Namespace: "bench", Key: "bench"},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{policy("open", Never), policy("tight", Tight)},
		Ports: []*snapshot.Port{
			{Number: portOpen, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "open"},
			{Number: portTight, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: "tight"},
		},
		Telemetry: telemetry,
	}
}
