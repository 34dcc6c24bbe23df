// SPDX-License-Identifier: Apache-2.0

//go:build linux

package peer

import (
	"context"
	"embed"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"weir.dev/weir/test/bench/process"
)

// What every peer limits to.
const (
	// Tight requests in Window seconds, on the ports that deny.
	Tight  = 5
	Window = 60
	// Never requests in Window seconds are not reached.
	Never = 60_000_000
)

// Small is the body of the origin's short answer, and Large the length of its file.
const (
	Small = "An answer of sixty-eight bytes, as an API gives for a small object. "
	Large = 64 << 10
)

//go:embed *.tmpl
var templates embed.FS

// Setup is what all peers need.
type Setup struct {
	// Folder takes configurations and logs; other users have to be able to read it.
	Folder string
	// Origin is host:port of the application.
	Origin string
	// Core that peers are pinned to.
	Core int
}

// Peer is a proxy that runs.
type Peer struct {
	*process.Process
	Version string
	// Open never denies, Denying does; Spliced has no policy, Half denies half of a
	// load, Shared is shared by many peers; they are empty where a peer has no such port.
	// All are host:port.
	Open, Denying, Spliced, Half, Shared string
	// Service is another process that decides for the peer, or nil.
	Service *process.Process
	// Metrics is a URL, and Requests finds the counts of requests in what it says.
	Metrics  string
	Requests *regexp.Regexp
}

// values are what templates are filled with.
type values struct {
	Folder, Small               string
	Origin, Open, Denying       string
	Admin                       string
	AdminPort, OriginPort       string
	Service                     string
	Tight, Burst, Window, Never int
	Listeners                   []listenerValues
}

type listenerValues struct {
	Name, Port string
	Limit      int
}

// addresses finds n addresses of the loopback interface on which nobody listens.
// They are below the ports that connections get, which would take one before its
// listener is up.
func addresses(n int) ([]string, error) {
	const least, most = 15000, 32000
	var out []string
	var last error
	for range 100 * n {
		if len(out) == n {
			return out, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", least+rand.IntN(most-least)))
		if err != nil {
			last = err
			continue
		}
		defer l.Close() // only at the end, so that none comes twice
		out = append(out, l.Addr().String())
	}
	return nil, fmt.Errorf("no free port between %d and %d: %w", least, most, last)
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func (s Setup) values(addrs []string) values {
	v := values{
		Folder: s.Folder, Small: Small, Origin: s.Origin, OriginPort: portOf(s.Origin),
		Open: addrs[0], Denying: addrs[1], Admin: addrs[2], AdminPort: portOf(addrs[2]),
		Tight: Tight, Burst: Tight - 1, Window: Window, Never: Never,
	}
	v.Listeners = []listenerValues{{"open", portOf(v.Open), Never}, {"tight", portOf(v.Denying), Tight}}
	return v
}

// write fills a template and returns the file.
func (s Setup) write(name, file string, v values) (string, error) {
	t, err := template.ParseFS(templates, name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Folder, file)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return path, t.Execute(f, v)
}

// start starts a proxy that is configured by a template.
func (s Setup) start(ctx context.Context, name, tmpl string, command func(config string) []string) (*Peer, error) {
	addrs, err := addresses(3)
	if err != nil {
		return nil, err
	}
	v := s.values(addrs)
	config, err := s.write(tmpl, name+filepath.Ext(strings.TrimSuffix(tmpl, ".tmpl")), v)
	if err != nil {
		return nil, err
	}
	p, err := process.Start(ctx, process.Command{
		Name: name, Core: s.Core, Args: command(config), Log: filepath.Join(s.Folder, name+".log"), Address: v.Open,
	})
	if err != nil {
		return nil, err
	}
	return &Peer{Process: p, Open: v.Open, Denying: v.Denying, Metrics: "http://" + v.Admin + "/metrics"}, nil
}

// Nginx starts nginx with limit_req.
func (s Setup) Nginx(ctx context.Context, binary string) (*Peer, error) {
	p, err := s.start(ctx, "nginx", "nginx.conf.tmpl", func(config string) []string {
		return []string{binary, "-p", s.Folder, "-c", config}
	})
	if err != nil {
		return nil, err
	}
	p.Requests = regexp.MustCompile(`(?m)^ \d+ \d+ (\d+) $`)
	return p, p.identify(ctx, regexp.MustCompile(`nginx/([\d.]+)`), binary, "-v")
}

// HAProxy starts HAProxy with a stick table.
func (s Setup) HAProxy(ctx context.Context, binary string) (*Peer, error) {
	p, err := s.start(ctx, "haproxy", "haproxy.cfg.tmpl", func(config string) []string {
		return []string{binary, "-db", "-f", config}
	})
	if err != nil {
		return nil, err
	}
	p.Requests = regexp.MustCompile(`(?m)^haproxy_frontend_http_requests_total\{[^}]*\} (\d+)$`)
	return p, p.identify(ctx, regexp.MustCompile(`version (\d+\.\d+\.\d+)`), binary, "-v")
}

// Envoy starts Envoy with local_ratelimit and one worker.
func (s Setup) Envoy(ctx context.Context, binary string) (*Peer, error) {
	p, err := s.start(ctx, "envoy", "envoy.yaml.tmpl", func(config string) []string {
		return []string{binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "error"}
	})
	if err != nil {
		return nil, err
	}
	p.Metrics = strings.Replace(p.Metrics, "/metrics", "/stats/prometheus", 1)
	p.Requests = regexp.MustCompile(`(?m)^envoy_http_downstream_rq_total\{[^}]*\} (\d+)$`)
	return p, p.identify(ctx, regexp.MustCompile(`/(\d+\.\d+\.\d+)/`), binary, "--version")
}

// Stop ends the peer, and the service that decides for it.
func (p *Peer) Stop() {
	p.Process.Stop()
	if p.Service != nil {
		p.Service.Stop()
	}
}

// identify asks a program for its version. Where it does not say, the peer ends.
func (p *Peer) identify(ctx context.Context, version *regexp.Regexp, command ...string) error {
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	if err == nil {
		if m := version.FindSubmatch(out); m != nil {
			p.Version = string(m[1])
			return nil
		}
		err = fmt.Errorf("no version in %q", out)
	}
	p.Stop()
	return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
}

// Origin starts the application, an nginx, and returns where it listens.
func Origin(ctx context.Context, folder, binary string, core int) (*process.Process, string, error) {
	addrs, err := addresses(1)
	if err != nil {
		return nil, "", err
	}
	if err := os.MkdirAll(filepath.Join(folder, "www"), 0o755); err != nil {
		return nil, "", err
	}
	large := strings.Repeat("0123456789abcdef", Large/16)
	if err := os.WriteFile(filepath.Join(folder, "www", "large"), []byte(large), 0o644); err != nil {
		return nil, "", err
	}
	config, err := Setup{Folder: folder}.write("origin.conf.tmpl", "origin.conf", values{Folder: folder, Origin: addrs[0], Small: Small})
	if err != nil {
		return nil, "", err
	}
	p, err := process.Start(ctx, process.Command{
		Name: "origin", Core: core, Args: []string{binary, "-p", folder, "-c", config}, Log: filepath.Join(folder, "origin.log"), Address: addrs[0],
	})
	return p, addrs[0], err
}
