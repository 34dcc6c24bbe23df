// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/stream"
)

// Options of an Admin. Probes may be empty and Log may be nil.
type Options struct {
	Version string
	// Ready reports whether there is something to serve by.
	Ready func() bool
	// Snapshot returns what serves; nil when nothing does.
	Snapshot func() *stream.SnapshotUpdate
	// Connected reports whether there is a config stream; nil: there is no
	// operator.
	Connected func() bool
	// Connections is how many clients' connections are open; nil: not shown.
	Connections func() int
	Metrics     *Metrics
	Level       *slog.LevelVar
	// OnDrain is called once, by the first drain.
	OnDrain func()

	Probes []podspec.Probe
	// PodIP is where the app listens.
	PodIP string
}

// Admin answers on both ports.
type Admin struct {
	opts     Options
	draining atomic.Bool
}

// New returns an Admin.
func New(opts Options) *Admin {
	a := &Admin{opts: opts}
	opts.Metrics.watch(&a.opts)
	return a
}

// Drain marks the sidecar as draining: it is not ready any more. Nothing is cut.
func (a *Admin) Drain() {
	if !a.draining.Swap(true) && a.opts.OnDrain != nil {
		a.opts.OnDrain()
	}
}

// Public is the handler of port 16000.
func (a *Admin) Public() http.Handler {
	mux := http.NewServeMux()
	a.public(mux)
	return mux
}

// Local is the handler of port 16001. It must listen on loopback only.
func (a *Admin) Local() http.Handler {
	mux := http.NewServeMux()
	a.local(mux)
	return mux
}

// All is both, for a process that is no pod's.
func (a *Admin) All() http.Handler {
	mux := http.NewServeMux()
	a.public(mux)
	a.local(mux)
	return mux
}

func (a *Admin) public(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.opts.Metrics.registry, promhttp.HandlerOpts{}))
	for _, p := range a.opts.Probes {
		mux.Handle("GET "+podspec.ProbePath(p.Container, p.Kind), newProbe(p, a.opts.PodIP))
	}
}

func (a *Admin) local(mux *http.ServeMux) {
	mux.HandleFunc("GET /dump", a.dump)
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, _ *http.Request) {
		a.Drain()
		text(w, http.StatusOK, "draining")
	})
	mux.HandleFunc("GET /loglevel", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, strings.ToLower(a.opts.Level.Level().String()))
	})
	mux.HandleFunc("PUT /loglevel", a.setLevel)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}

func (a *Admin) readyz(w http.ResponseWriter, _ *http.Request) {
	switch {
	case a.draining.Load():
		text(w, http.StatusServiceUnavailable, "draining")
	case !a.opts.Ready():
		text(w, http.StatusServiceUnavailable, "no snapshot yet")
	default:
		text(w, http.StatusOK, "ready")
	}
}

func (a *Admin) setLevel(w http.ResponseWriter, r *http.Request) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(r.URL.Query().Get("level"))); err != nil {
		text(w, http.StatusBadRequest, "level is debug, info, warn or error: PUT /loglevel?level=debug")
		return
	}
	a.opts.Level.Set(l)
	text(w, http.StatusOK, strings.ToLower(l.String()))
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s + "\n"))
}
