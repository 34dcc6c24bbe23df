// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/test/bench/process"
)

// Half says how much of its load a peer denies on the port Half: Limit requests each
// second, of a load of twice as much; Burst where the algorithm has one.
type Half struct{ Limit, Burst int }

// Shared are peers that count in one Redis.
type Shared struct {
	Setup
	Redis *Redis
	Half  Half
	// ServiceCore is the core of the rate limit service.
	ServiceCore int
	// Over is the limit that many sidecars share, on the port Shared of Weir.
	Over Half
}

// Redis is a server that keeps nothing.
type Redis struct {
	*process.Process
	Address, Version string
}

// Redis starts one on a core of the caller's choice.
func (s Setup) Redis(ctx context.Context, binary string, core int) (*Redis, error) {
	addrs, err := addresses(1)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, err
	}
	p, err := process.Start(ctx, process.Command{
		Name: "redis", Core: core, Address: addrs[0], Log: filepath.Join(s.Folder, "redis.log"),
		Args: []string{binary, "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--dir", s.Folder},
	})
	if err != nil {
		return nil, err
	}
	r := &Redis{Process: p, Address: addrs[0]}
	info, err := r.info("server")
	if err != nil {
		p.Stop()
		return nil, err
	}
	if m := regexp.MustCompile(`redis_version:(\S+)`).FindStringSubmatch(info); m != nil {
		r.Version = m[1]
	}
	return r, nil
}

var (
	commandCalls = regexp.MustCompile(`(?m)^cmdstat_([^:]+):calls=(\d+)`)
	// What clients say of themselves, and what this asks.
	noWork = regexp.MustCompile(`^(info|hello|client\|.*|ping|script\|.*|config\|.*|command.*|cluster\|.*|role|select|auth)$`)
)

// Calls is how many commands clients have sent so far, as INFO commandstats counts
// them. What a script calls is a part of the script, and is not counted: a client
// waits for the script.
func (r *Redis) Calls() (int64, error) {
	info, err := r.info("commandstats")
	if err != nil {
		return 0, err
	}
	return countCalls(info)
}

// countCalls counts scripts where there are any, else commands: redis counts what
// scripts call among the commands.
func countCalls(info string) (int64, error) {
	var scripts, all int64
	for _, m := range commandCalls.FindAllStringSubmatch(info, -1) {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return 0, err
		}
		switch {
		case strings.HasPrefix(m[1], "eval") || strings.HasPrefix(m[1], "fcall"):
			scripts += n
		case !noWork.MatchString(m[1]):
			all += n
		}
	}
	if scripts > 0 {
		return scripts, nil
	}
	return all, nil
}

// info asks for one section over a connection of its own.
func (r *Redis) info(section string) (string, error) {
	c, err := net.DialTimeout("tcp", r.Address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "INFO %s\r\n", section); err != nil {
		return "", err
	}
	in := bufio.NewReader(c)
	head, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "$")))
	if err != nil {
		return "", fmt.Errorf("INFO was answered with %q", head)
	}
	b := make([]byte, n)
	for read := 0; read < n; {
		k, err := in.Read(b[read:])
		if err != nil {
			return "", err
		}
		read += k
	}
	return string(b), nil
}

// algorithm of one limit of Weir's.
type algorithm struct {
	kind   snapshot.Algorithm
	leased bool
}

// ports of the snapshots, beside those of the other benchmark.
const (
	portHalf   = 8004
	portShared = 8005
)

// snapshot has four limits by X-Client-Id for the whole cluster, and a port without.
func (s Shared) snapshot(prefix string, a algorithm) *snapshot.Snapshot {
	policy := func(port string, limit, burst, window int) *snapshot.RateLimitPolicy {
		l := &snapshot.Limit{
			Name:         "client",
			Key:          []*snapshot.KeyPart{{Kind: &snapshot.KeyPart_Header{Header: "x-client-id"}}},
			OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
			Algorithm:    a.kind, Leased: a.leased,
			Limit: uint64(limit), WindowSeconds: uint64(window),
			Scope: snapshot.Scope_SCOPE_CLUSTER,
		}
		if a.kind == snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET {
			l.Burst = uint64(burst)
		}
		failure := snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK
		if port == "shared" {
			// Nothing passes without a word from the store: what is measured is its limit.
			failure = snapshot.FailurePolicy_FAILURE_POLICY_CLOSED
		}
		return &snapshot.RateLimitPolicy{
			Name: port, Generation: 1, Store: "redis",
			FailurePolicy: failure,
			Headers:       snapshot.HeaderStyle_HEADER_STYLE_IETF,
			Limits:        []*snapshot.Limit{l},
		}
	}
	port := func(number uint32, name string) *snapshot.Port {
		return &snapshot.Port{Number: number, Protocol: snapshot.Protocol_PROTOCOL_HTTP, RateLimitPolicy: name, Names: []string{"app/" + name}}
	}
	return &snapshot.Snapshot{
		Workload: &snapshot.Workload{Cluster: "local", Namespace: "bench", Key: "bench"},
		Stores: []*snapshot.Store{{Name: "redis", Redis: &snapshot.Redis{
			Mode: snapshot.Redis_MODE_STANDALONE, Addresses: []string{s.Redis.Address}, KeyPrefix: prefix,
		}}},
		RateLimitPolicies: []*snapshot.RateLimitPolicy{
			policy("half", s.Half.Limit, s.Half.Burst, 1), policy("open", Never, Never, Window),
			policy("shared", s.Over.Limit, s.Over.Burst, 1), policy("tight", Tight, Tight, Window),
		},
		Ports: []*snapshot.Port{port(portOpen, "open"), port(portTight, "tight"), port(portHalf, "half"), port(portShared, "shared")},
	}
}

// Weir starts weir-sidecar with a TokenBucket in the Redis. Sidecars of one prefix share
// their limits.
func (s Shared) Weir(ctx context.Context, name, prefix, binary string, leased bool) (*Peer, error) {
	return s.launch(ctx, name, binary, s.snapshot(prefix, algorithm{kind: snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, leased: leased}))
}

// RedisRate starts the proxy in the folder redisrate.
func (s Shared) RedisRate(ctx context.Context, binary string) (*Peer, error) {
	addrs, err := addresses(5)
	if err != nil {
		return nil, err
	}
	limited := func(name, address string, limit, burst, seconds int) string {
		return fmt.Sprintf("--port=%s,%s,%d,%d,%d", name, address, limit, burst, seconds)
	}
	p, err := process.Start(ctx, process.Command{
		Name: "redisrate", Core: s.Core, Address: addrs[0], Log: filepath.Join(s.Folder, "redisrate.log"),
		Args: []string{
			binary, "--redis", s.Redis.Address, "--upstream", s.Origin, "--admin", addrs[4],
			limited("open", addrs[0], Never, Never, Window), limited("tight", addrs[1], Tight, Tight, Window),
			limited("half", addrs[2], s.Half.Limit, s.Half.Burst, 1), "--port=none," + addrs[3],
		},
		Env: []string{"GOMAXPROCS=1"},
	})
	if err != nil {
		return nil, err
	}
	return &Peer{
		Process: p, Version: "10.0.1", Open: addrs[0], Denying: addrs[1], Half: addrs[2], Spliced: addrs[3],
		Metrics: "http://" + addrs[4] + "/metrics", Requests: regexp.MustCompile(`(?m)^requests_total (\d+)$`),
	}, nil
}
