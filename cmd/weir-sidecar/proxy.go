// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/sidecar/engine"
	"weir.dev/weir/sidecar/source"
	"weir.dev/weir/sidecar/wire/listen"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

// missingConfigWait is when a pod without a snapshot does what
// EnvOnMissingConfig says; the server waits as long by default.
const missingConfigWait = 10 * time.Second

func proxyCommand(log *slog.Logger, level *slog.LevelVar) *cobra.Command {
	return &cobra.Command{
		Use:   "proxy",
		Short: "Be the sidecar of an injected pod",
		Long: `Proxy reads its settings from the environment that the injector writes
(WEIR_OPERATOR, WEIR_CAPTURE, …, see api/podspec).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return proxy(cmd.Context(), log, level, os.Getenv)
		},
	}
}

// podSettings is the environment of an injected pod, and where things are in it.
type podSettings struct {
	files         files
	status, admin string
	operator      string
	namespace     string
	pod           string
	ip            netip.Addr
	redirect      bool
	namedPorts    []podspec.NamedPort
	probes        []podspec.Probe
	passThrough   bool
	level         slog.Level
}

type files struct{ token, ca, state, notes string }

func readPod(getenv func(string) string) (podSettings, error) {
	p := podSettings{
		files:     files{token: podspec.FileToken, ca: podspec.FileCA, state: podspec.DirState, notes: podspec.DirNotes},
		status:    port(podspec.PortStatus),
		admin:     net.JoinHostPort("127.0.0.1", strconv.Itoa(podspec.PortAdmin)),
		operator:  getenv(podspec.EnvOperator),
		namespace: getenv(podspec.EnvPodNamespace),
		pod:       getenv(podspec.EnvPodName),
	}
	if p.operator == "" {
		return p, fmt.Errorf("%s is not set, so this is no injected pod; without an operator use --snapshot and --listener, see --help", podspec.EnvOperator)
	}
	if _, _, err := net.SplitHostPort(p.operator); err != nil {
		return p, fmt.Errorf("%s is not host:port of the operator: %w", podspec.EnvOperator, err)
	}
	first, _, _ := strings.Cut(getenv(podspec.EnvPodIPs), ",")
	var err error
	if p.ip, err = netip.ParseAddr(first); err != nil {
		return p, fmt.Errorf("%s does not begin with the pod's address: %w", podspec.EnvPodIPs, err)
	}
	if p.probes, err = podspec.DecodeProbes(getenv(podspec.EnvProbes)); err != nil {
		return p, err
	}
	if p.namedPorts, err = podspec.DecodeNamedPorts(getenv(podspec.EnvNamedPorts)); err != nil {
		return p, err
	}
	switch mode := getenv(podspec.EnvCapture); mode {
	case podspec.CaptureRedirect:
		p.redirect = true
	case podspec.CaptureNamedPort:
	default:
		return p, fmt.Errorf("%s is %q, not %s or %s", podspec.EnvCapture, mode, podspec.CaptureRedirect, podspec.CaptureNamedPort)
	}
	switch missing := getenv(podspec.EnvOnMissingConfig); missing {
	case "", podspec.MissingDeny:
	case podspec.MissingPassThrough:
		p.passThrough = true
	default:
		return p, fmt.Errorf("%s is %q, not %s or %s", podspec.EnvOnMissingConfig, missing, podspec.MissingDeny, podspec.MissingPassThrough)
	}
	if s := getenv(podspec.EnvLogLevel); s != "" {
		if err := p.level.UnmarshalText([]byte(s)); err != nil {
			return p, fmt.Errorf("%s is %q, not debug, info, warn or error", podspec.EnvLogLevel, s)
		}
	}
	return p, nil
}

func proxy(ctx context.Context, log *slog.Logger, level *slog.LevelVar, getenv func(string) string) error {
	p, err := readPod(getenv)
	if err != nil {
		return err
	}
	level.Set(p.level)
	return p.run(ctx, log, level)
}

// run ends with ctx: in a pod, at SIGTERM, which comes after the app has exited.
func (p *podSettings) run(ctx context.Context, log *slog.Logger, level *slog.LevelVar) error {
	log = log.With("namespace", p.namespace, "pod", p.pod)
	var src *source.Source
	m := newMachine(log, p.files.notes, func(m *machine) settings {
		src = source.New(source.Options{
			Address: p.operator, TokenFile: p.files.token, CAFile: p.files.ca, StateDir: p.files.state,
			Version: version, Features: engine.Features(),
			Sink: sink{Engine: m.engine, problems: &m.problems}, Log: log,
		})
		s := settings{
			snapshot: src.Current, connected: src.Connected, ready: readiness(m.engine, p.passThrough),
			probes: p.probes, podIP: p.ip.String(), level: level, namespace: p.namespace, pod: p.pod,
		}
		if p.passThrough {
			s.missing = wirehttp.PassThrough
		}
		return s
	})
	defer m.close()
	if err := p.open(m); err != nil {
		return err
	}
	src.Restore()
	log.Info("listening", "version", version, "redirect", p.redirect, "named_ports", len(p.namedPorts))
	done := make(chan struct{})
	streaming, stop := context.WithCancel(ctx)
	go func() {
		defer close(done)
		_ = src.Run(streaming)
	}()
	err := m.run(ctx)
	stop()
	<-done
	return err
}

// open opens every port of the sidecar. The app starts once that is done.
func (p *podSettings) open(m *machine) error {
	if p.redirect {
		if err := m.listen(port(podspec.PortCapture), listen.Original()); err != nil {
			return err
		}
	}
	for _, n := range p.namedPorts {
		route, err := listen.Named(p.ip, n.Port)
		if err != nil {
			return fmt.Errorf("port %s: %w", n.Name, err)
		}
		if err := m.listen(port(n.Listen), route); err != nil {
			return err
		}
	}
	_, err := m.serveHTTP(p.status, m.admin.Public())
	_, e := m.serveHTTP(p.admin, m.admin.Local())
	return errors.Join(err, e)
}

func port(n uint16) string { return ":" + strconv.Itoa(int(n)) }

// readiness is having a snapshot; under PassThrough also having waited for one,
// since the pod serves then.
func readiness(e *engine.Engine, passThrough bool) func() bool {
	start := time.Now()
	return func() bool {
		select {
		case <-e.Ready():
			return true
		default:
			return passThrough && time.Since(start) >= missingConfigWait
		}
	}
}
