// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/rollout"
)

// adminPort is the operator's port on its own loopback.
const adminPort = 16001

// LeaseName is the operator's lease.
const LeaseName = "weir-operator"

// PodStates asks the leading operator, through the API server's port-forward,
// what every sidecar has acked.
func (c *Cluster) PodStates(ctx context.Context) ([]*stream.PodState, error) {
	var lease coordinationv1.Lease
	if err := c.Get(ctx, client.ObjectKey{Namespace: c.System, Name: LeaseName}, &lease); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("no operator has ever led in namespace %s; --weir-namespace says where Weir is installed", c.System)
		}
		return nil, fmt.Errorf("find the leading operator: %w", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return nil, fmt.Errorf("no operator is leading; look at `kubectl get pods -n %s`", c.System)
	}
	leader, err := rollout.ParseIdentity(*lease.Spec.HolderIdentity)
	if err != nil {
		return nil, err
	}
	var view rollout.View
	err = c.tunnel(ctx, leader.Pod, func(base string) error {
		q := url.Values{}
		if c.Namespace != "" {
			q.Set("namespace", c.Namespace)
		}
		return getJSON(ctx, base+"/rollout?"+q.Encode(), &view)
	})
	if err != nil {
		return nil, fmt.Errorf("ask the operator %s: %w", leader.Pod, err)
	}
	return view.Decode()
}

// tunnel forwards a free local port to the operator's admin port while do runs.
func (c *Cluster) tunnel(ctx context.Context, pod string, do func(base string) error) error {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return err
	}
	u, err := url.Parse(c.config.Host)
	if err != nil {
		return err
	}
	u = u.JoinPath("api", "v1", "namespaces", c.System, "pods", pod, "portforward")
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, u)
	stop, ready := make(chan struct{}), make(chan struct{})
	f, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", adminPort)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- f.ForwardPorts() }()
	defer close(stop)
	select {
	case <-ready:
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	ports, err := f.GetPorts()
	if err != nil {
		return err
	}
	return do(fmt.Sprintf("http://127.0.0.1:%d", ports[0].Local))
}

func getJSON(ctx context.Context, address string, v any) error {
	ctx, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}
