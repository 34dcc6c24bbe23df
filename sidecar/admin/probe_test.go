// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/stream"
)

func admin(t *testing.T, probes ...podspec.Probe) *Admin {
	t.Helper()
	return New(Options{
		Version:  "v0.0.0",
		Ready:    func() bool { return true },
		Snapshot: func() *stream.SnapshotUpdate { return nil },
		Metrics:  NewMetrics(),
		Probes:   probes,
		PodIP:    "127.0.0.1",
	})
}

func portOf(t *testing.T, addr string) uint16 {
	t.Helper()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// closedPort is a port nobody listens on.
func closedPort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return portOf(t, l.Addr().String())
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("User-Agent", "kube-probe/1.33")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHTTPProbe(t *testing.T) {
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/ok?from=moved", http.StatusFound)
		case "/away":
			http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/long":
			_, _ = io.WriteString(w, strings.Repeat("x", maxProbeBody+1))
		default:
			_, _ = io.WriteString(w, r.Host+" "+r.UserAgent()+" "+strings.Join(r.Header.Values("X-A"), "+")+" "+r.URL.RequestURI())
		}
	})
	plain := httptest.NewServer(app)
	defer plain.Close()
	tls := httptest.NewTLSServer(app)
	defer tls.Close()
	port := portOf(t, plain.URL)
	for name, tc := range map[string]struct {
		get        podspec.HTTPGet
		wantStatus int
		wantBody   string
	}{
		"as written": {
			podspec.HTTPGet{Port: port, Path: "/ok?a=b%20c", Headers: []podspec.Header{
				{Name: "host", Value: "shop.example"}, {Name: "X-A", Value: "1"}, {Name: "x-a", Value: "2"},
			}},
			200, "shop.example kube-probe/1.33 1+2 /ok?a=b%20c",
		},
		"header of its own": {
			podspec.HTTPGet{Port: port, Headers: []podspec.Header{{Name: "User-Agent", Value: "mine"}}},
			200, "127.0.0.1:" + strconv.Itoa(int(port)) + " mine  /",
		},
		"no certificate check": {podspec.HTTPGet{Scheme: "HTTPS", Port: portOf(t, tls.URL), Headers: []podspec.Header{{Name: "Host", Value: "h"}}}, 200, "h kube-probe/1.33  /"},
		"redirect within":      {podspec.HTTPGet{Port: port, Path: "/moved", Headers: []podspec.Header{{Name: "Host", Value: "127.0.0.1:" + strconv.Itoa(int(port))}}}, 200, "127.0.0.1:" + strconv.Itoa(int(port)) + " kube-probe/1.33  /ok?from=moved"},
		"redirect away":        {podspec.HTTPGet{Port: port, Path: "/away"}, 200, "<a href=\"http://elsewhere.invalid/\">Found</a>.\n\n"},
		"status of the app":    {podspec.HTTPGet{Port: port, Path: "/sick"}, 503, ""},
		"bounded body":         {podspec.HTTPGet{Port: port, Path: "/long"}, 200, strings.Repeat("x", maxProbeBody)},
	} {
		t.Run(name, func(t *testing.T) {
			h := admin(t, podspec.Probe{Container: "app", Kind: podspec.ProbeReadiness, HTTPGet: &tc.get, TimeoutSeconds: 10}).Public()
			status, body := get(t, h, "/probe/app/readiness")
			if status != tc.wantStatus {
				t.Errorf("status %d, want %d", status, tc.wantStatus)
			}
			if d := cmp.Diff(tc.wantBody, body); d != "" {
				t.Errorf("body (-want +got):\n%s", d)
			}
		})
	}
}

func TestProbesThatFail(t *testing.T) {
	loop := httptest.NewServer(http.RedirectHandler("/loop", http.StatusFound))
	defer loop.Close()
	closed := closedPort(t)
	for name, p := range map[string]podspec.Probe{
		"http refused":  {HTTPGet: &podspec.HTTPGet{Port: closed}},
		"redirect loop": {HTTPGet: &podspec.HTTPGet{Port: portOf(t, loop.URL), Path: "/loop"}},
		"tcp refused":   {TCPSocket: &podspec.TCPSocket{Port: closed}},
		"grpc refused":  {GRPC: &podspec.GRPC{Port: closed}},
	} {
		t.Run(name, func(t *testing.T) {
			p.Container, p.Kind, p.TimeoutSeconds = "app", podspec.ProbeLiveness, 10
			status, body := get(t, admin(t, p).Public(), "/probe/app/liveness")
			if status != http.StatusBadGateway || !strings.HasPrefix(body, "weir: liveness of container app: ") {
				t.Errorf("got %d %q, want 502 with a reason", status, body)
			}
		})
	}
}

func TestTCPAndGRPCProbes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	hs := health.NewServer()
	hs.SetServingStatus("sick", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(srv, hs)
	go func() { _ = srv.Serve(l) }()
	defer srv.Stop()
	port := portOf(t, l.Addr().String())
	for name, tc := range map[string]struct {
		probe podspec.Probe
		want  int
	}{
		"tcp":          {podspec.Probe{TCPSocket: &podspec.TCPSocket{Port: port}}, 200},
		"grpc":         {podspec.Probe{GRPC: &podspec.GRPC{Port: port}}, 200},
		"grpc sick":    {podspec.Probe{GRPC: &podspec.GRPC{Port: port, Service: "sick"}}, 502},
		"grpc unknown": {podspec.Probe{GRPC: &podspec.GRPC{Port: port, Service: "nobody"}}, 502},
	} {
		t.Run(name, func(t *testing.T) {
			tc.probe.Container, tc.probe.Kind, tc.probe.TimeoutSeconds = "app", podspec.ProbeStartup, 10
			if status, body := get(t, admin(t, tc.probe).Public(), "/probe/app/startup"); status != tc.want {
				t.Errorf("status %d (%s), want %d", status, body, tc.want)
			}
		})
	}
}

// Only what is in the list is forwarded.
func TestNoOtherProbe(t *testing.T) {
	h := admin(t, podspec.Probe{Container: "app", Kind: podspec.ProbeLiveness, TCPSocket: &podspec.TCPSocket{Port: 1}}).Public()
	for _, path := range []string{"/probe/app/readiness", "/probe/other/liveness", "/probe/app/liveness/x", "/dump", "/debug/pprof/"} {
		if status, _ := get(t, h, path); status != http.StatusNotFound {
			t.Errorf("GET %s is %d on the public port, want 404", path, status)
		}
	}
}
