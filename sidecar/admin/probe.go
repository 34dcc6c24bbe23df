// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"weir.dev/weir/api/podspec"
)

const (
	// defaultProbeTimeout is the kubelet's.
	defaultProbeTimeout = time.Second
	// maxProbeBody and maxRedirects are the kubelet's too
	// (pkg/probe/http, Kubernetes 1.33).
	maxProbeBody = 10 << 10
	maxRedirects = 10
)

// newProbe forwards one probe or hook. It does what the kubelet would have done,
// from the pod's own address, and answers 2xx for a success.
func newProbe(p podspec.Probe, podIP string) http.Handler {
	var try func(ctx context.Context, w http.ResponseWriter, from *http.Request) error
	switch {
	case p.HTTPGet != nil:
		try = (&httpProbe{get: p.HTTPGet, podIP: podIP, client: probeClient()}).forward
	case p.TCPSocket != nil:
		host := orDefault(p.TCPSocket.Host, podIP)
		try = func(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
			return tcpProbe(ctx, w, address(host, p.TCPSocket.Port))
		}
	default:
		try = func(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
			return grpcProbe(ctx, w, address(podIP, p.GRPC.Port), p.GRPC.Service)
		}
	}
	hook := p.Kind == podspec.HookPostStart || p.Kind == podspec.HookPreStop
	timeout := time.Duration(p.TimeoutSeconds) * time.Second
	if timeout <= 0 {
		timeout = defaultProbeTimeout
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if !hook {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
		}
		if err := try(ctx, w, r); err != nil {
			text(w, http.StatusBadGateway, fmt.Sprintf("weir: %s of container %s: %v", p.Kind, p.Container, err))
		}
	})
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func address(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

type httpProbe struct {
	get    *podspec.HTTPGet
	podIP  string
	client *http.Client
}

// probeClient follows redirects within a host only, as the kubelet does; one that
// leads elsewhere is a success.
func probeClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			// As the kubelet, which has no CA of the app's either.
			TLSClientConfig:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
			DisableKeepAlives:  true,
			DisableCompression: true,
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if req.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= maxRedirects {
				return errors.New("more than 10 redirects")
			}
			return nil
		},
	}
}

func (p *httpProbe) forward(ctx context.Context, w http.ResponseWriter, from *http.Request) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url().String(), nil)
	if err != nil {
		return err
	}
	for _, name := range []string{"User-Agent", "Accept"} {
		if v := from.Header.Get(name); v != "" {
			req.Header.Set(name, v)
		}
	}
	for _, h := range p.get.Headers {
		if strings.EqualFold(h.Name, "Host") {
			req.Host = h.Value
			continue
		}
		req.Header.Del(h.Name)
	}
	for _, h := range p.get.Headers {
		if !strings.EqualFold(h.Name, "Host") {
			req.Header.Add(h.Name, h.Value)
		}
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	status := resp.StatusCode
	if status >= 300 && status < 400 {
		status = http.StatusOK
	}
	if t := resp.Header.Get("Content-Type"); t != "" {
		w.Header().Set("Content-Type", t)
	}
	w.WriteHeader(status)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, maxProbeBody))
	return nil
}

func (p *httpProbe) url() *url.URL {
	u, err := url.Parse(p.get.Path)
	if err != nil {
		u = &url.URL{Path: p.get.Path}
	}
	u.Scheme = strings.ToLower(orDefault(p.get.Scheme, "http"))
	u.Host = address(orDefault(p.get.Host, p.podIP), p.get.Port)
	return u
}

func tcpProbe(ctx context.Context, w http.ResponseWriter, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	_ = conn.Close()
	text(w, http.StatusOK, "open")
	return nil
}

func grpcProbe(ctx context.Context, w http.ResponseWriter, addr, service string) error {
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("kube-probe/weir"), grpc.WithNoProxy())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return err
	}
	if s := resp.GetStatus(); s != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("the service is %s", s)
	}
	text(w, http.StatusOK, "serving")
	return nil
}
