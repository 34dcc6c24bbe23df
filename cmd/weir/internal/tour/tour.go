// SPDX-License-Identifier: Apache-2.0

// Package tour is the stage of `weir demo`: a shop, a sidecar before it and a
// client, in one process. In: policies. Out: answers to requests.
package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/plane"
	"weir.dev/weir/controllers/compile"
)

// Shop is what is on the stage.
type Shop struct {
	// Address of the sidecar, Upstream of the shop.
	Address, Upstream string

	upstream *http.Server
	plane    *plane.Plane
	dir      string
	files    *local.Files
	listener local.Listener
}

// Open starts shop and sidecar, without a policy.
func Open(ctx context.Context) (*Shop, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the shop: %w", err)
	}
	s := &Shop{
		Upstream: l.Addr().String(),
		upstream: &http.Server{Handler: http.HandlerFunc(payment), ReadHeaderTimeout: 5 * time.Second},
		plane:    plane.New(slog.New(slog.DiscardHandler), io.Discard, "tour", ""),
	}
	go func() { _ = s.upstream.Serve(l) }()
	if s.dir, err = os.MkdirTemp("", "weir-demo-"); err == nil {
		s.files, err = local.NewFiles([]string{s.policyFile()})
	}
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Shop) policyFile() string { return filepath.Join(s.dir, "policy.yaml") }

func (s *Shop) listen() error {
	const port = 20001 // see local.NewCluster: the first listener's
	addr, err := s.plane.Listen("127.0.0.1:0", port, s.Upstream)
	if err != nil {
		return err
	}
	s.Address = addr.String()
	s.listener = local.Listener{Service: "payments", Port: "http", Listen: s.Address, Upstream: s.Upstream, Protocol: "http"}
	return s.plane.Apply(&snapshot.Snapshot{Workload: &snapshot.Workload{Cluster: local.ClusterID, Namespace: "shop", Key: "local"}}, nil, nil)
}

// payment is the shop: it takes every payment.
func payment(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"paid":true,"path":%q}`+"\n", r.URL.Path)
}

// Apply is `kubectl apply` and what the operator does then. It returns the
// warning that Accepted would have, if any.
func (s *Shop) Apply(ctx context.Context, policy []byte) (string, error) {
	if err := os.WriteFile(s.policyFile(), policy, 0o600); err != nil {
		return "", err
	}
	policies, err := s.files.Read(ctx, nil)
	if err != nil {
		return "", errors.New(strings.ReplaceAll(err.Error(), s.dir+string(filepath.Separator), ""))
	}
	r, err := local.Compile(policies, []local.Listener{s.listener}, local.Settings{})
	if err != nil {
		return "", err
	}
	for _, v := range r.Verdicts {
		if !v.Accepted {
			return "", fmt.Errorf("%s: %s", v.Reason, v.Message)
		}
	}
	if err := s.plane.Apply(r.Snapshot, nil, nil); err != nil {
		return "", err
	}
	if v := r.Verdicts[0]; v.Warning {
		return strings.TrimPrefix(v.Message, compile.AcceptedMessage+" "), nil
	}
	return "", nil
}

// Shadow says what would have been denied.
func (s *Shop) Shadow() []*stream.ShadowCount { return s.plane.Engine.Report().GetShadow() }

// Answer of the sidecar or of the shop.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Pay sends a payment as a client.
func (s *Shop) Pay(ctx context.Context, client string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Address+"/users/1/payments", bytes.NewReader([]byte(`{"amount":1}`)))
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("X-Client-Id", client)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, err
}

// StopUpstream ends the shop and leaves the sidecar.
func (s *Shop) StopUpstream() { _ = s.upstream.Close() }

// Close ends all.
func (s *Shop) Close() {
	s.StopUpstream()
	s.plane.Close(time.Second)
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}
