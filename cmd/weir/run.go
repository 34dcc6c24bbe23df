// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/plane"
	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/jwks"
	"weir.dev/weir/sidecar/admin"
	"weir.dev/weir/sidecar/nskey"
	"weir.dev/weir/sidecar/rls"
)

type runFlags struct {
	files     []string
	listeners []string
	redis     string
	replicas  uint32
	admin     string
	rls       string
	secret    string
	data      string
	telemetry telemetryFlags
	jwt       []string
	idls      []string
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run -f FILE --listener name=SERVICE/PORT,listen=HOST:PORT,upstream=HOST:PORT",
		Short: "Enforce policy files in this process, without a cluster",
		Long: `Run compiles policy files with the operator's compiler and proxies with the
sidecar's data plane. A listener stands for a port of a Service: its name is what
targetRefs point to. When a file changes, the new policies take effect; a mistake
in it is printed and the policies before go on.

Without --redis, counters are in this process's memory. Processes that share a
Redis are one system: a policy's counters are found by its namespace and name.
--replicas says how many such processes there are, for failurePolicy
LocalFallback.

Idempotency records are kept in the same place, under a key of --secret-file. Without
the file the key is one that everybody knows, which is good for trials. With --redis
and --data-dir, what was in flight when this process was killed is settled by the next
one that is started with the same folder. Secrets for encryption are read from the
files: kind Secret, labelled weir.dev/use: "true".

With --rls it answers Envoy's rate limit protocol too, in domains such as
NAMESPACE/SERVICE/PORT. Then there may be no listener: the domains are those of
the Services that the policies name.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := f.telemetry.settings(cmd)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), settings, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	c.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "policy file, or a folder of them; may be given several times, - is standard input")
	c.Flags().StringArrayVar(&f.listeners, "listener", nil, "name=SERVICE/PORT,listen=HOST:PORT,upstream=HOST:PORT[,protocol=http|h2c|grpc|ws|thrift|auto]; may be given several times")
	c.Flags().StringVar(&f.redis, "redis", "", "HOST:PORT or redis:// URL; several, with commas, are nodes of one Redis Cluster (default: memory)")
	c.Flags().Uint32Var(&f.replicas, "replicas", 1, "how many processes share the Redis")
	c.Flags().StringVar(&f.admin, "admin", "", "address for /healthz, /readyz and /metrics, such as 127.0.0.1:9901 (default: none)")
	c.Flags().StringVar(&f.rls, "rls", "", "HOST:PORT for gateways that speak Envoy's rate limit protocol, such as 127.0.0.1:8081 (default: none)")
	c.Flags().StringVar(&f.secret, "secret-file", "", "file with the key that idempotency records are kept under, 32 bytes at the least (default: one that everybody knows, for trials)")
	c.Flags().StringVar(&f.data, "data-dir", "", "with --redis: folder for notes on requests in flight (default: none)")
	jwtProviderFlag(c, &f.jwt)
	idlFlag(c, &f.idls)
	f.telemetry.register(c)
	return c
}

// jwtProviderFlag is the operator's jwtProviders, as a flag.
func jwtProviderFlag(c *cobra.Command, all *[]string) {
	c.Flags().StringArrayVar(all, "jwt-provider", nil, "name=NAME,issuer=URL[,audience=NAME],jwks=FILE|URL for keys by jwtClaim; may be given several times; keys are read once")
}

// idlFlag is the annotation weir.dev/thrift-idl, as a flag.
func idlFlag(c *cobra.Command, all *[]string) {
	c.Flags().StringArrayVar(all, "idl", nil, "name=SERVICE/PORT,file=FILE[,routes=FILE][,include=DIR]: clients of the port speak HTTP, the application Thrift; may be given several times")
}

// running is what the flags have become.
type running struct {
	files     *local.Files
	listeners []local.Listener
	redis     local.Redis
	replicas  uint32
	telemetry config.Telemetry
	jwt       local.JWT
	idls      []local.IDL
	plane     *plane.Plane
	out       *term.Printer
	// gateways is nil where none are served; implied: listeners are those that the
	// policies name, and nothing listens.
	gateways *rls.Service
	implied  bool
	// secret is the file of the key; warned: that there is none has been said.
	secret string
	warned bool
}

func (f *runFlags) run(ctx context.Context, telemetry config.Telemetry, stdin io.Reader, out io.Writer) error {
	r := &running{out: term.New(out), replicas: f.replicas, telemetry: telemetry, secret: f.secret}
	var err error
	if r.files, err = local.NewFiles(f.files); err != nil {
		return err
	}
	if r.implied = f.rls != "" && len(f.listeners) == 0; !r.implied {
		if r.listeners, err = parseListeners(f.listeners); err != nil {
			return err
		}
	}
	if f.redis != "" {
		if r.redis, err = local.ParseRedis(f.redis); err != nil {
			return err
		}
	}
	if r.jwt, err = local.ParseJWT(ctx, f.jwt, jwks.NewClient()); err != nil {
		return err
	}
	if r.idls, err = local.ParseIDLs(f.idls); err != nil {
		return err
	}
	switch {
	case f.replicas == 0:
		return errors.New("--replicas is 1 at least: this process counts too")
	case f.data != "" && f.redis == "":
		return errors.New("--data-dir goes with --redis: without it records are in this process's memory, and after its end there is nothing to settle")
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	r.plane = plane.New(log, out, version, f.data)
	defer r.plane.Close(10 * time.Second)
	if f.rls != "" {
		r.gateways = rls.New(rls.Options{Log: log, Metrics: r.plane.Metrics})
	}
	if err := r.apply(ctx, stdin); err != nil {
		return err
	}
	if err := r.listen(); err != nil {
		return err
	}
	if f.admin != "" {
		if err := r.serveAdmin(ctx, f.admin); err != nil {
			return err
		}
	}
	if f.rls != "" {
		stop, err := r.serveGateways(ctx, f.rls)
		if err != nil {
			return err
		}
		defer stop()
	}
	for r.files.Changed(ctx, 300*time.Millisecond) {
		if err := r.apply(ctx, nil); err != nil {
			r.out.Printf("%s The policies before go on.\n%v\n", r.out.Bad("refused"), err)
		}
	}
	r.out.Printf("Ending: requests in progress get 10 s.\n")
	return nil
}

func parseListeners(flags []string) ([]local.Listener, error) {
	if len(flags) == 0 {
		return nil, errors.New("no listener is given; name at least one with --listener name=payments/http,listen=127.0.0.1:8080,upstream=127.0.0.1:9000")
	}
	var all []local.Listener
	for _, s := range flags {
		l, err := local.ParseListener(s)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// apply reads the files and puts what they hold into force.
func (r *running) apply(ctx context.Context, stdin io.Reader) error {
	policies, err := r.files.Read(ctx, stdin)
	if err != nil {
		return err
	}
	if r.implied {
		r.listeners = local.Implied(policies)
	}
	key, err := nskey.Local(r.secret, local.ClusterID, policies.Namespace)
	if err != nil {
		return fmt.Errorf("--secret-file: %w", err)
	}
	result, err := local.Compile(policies, r.listeners, local.Settings{Redis: r.redis.Store, Telemetry: r.telemetry, JWT: r.jwt, IDLs: r.idls, Key: key})
	if err != nil {
		return err
	}
	if len(result.BadIDLs) > 0 {
		return errors.New("--idl: " + strings.Join(result.BadIDLs, "\n"))
	}
	for _, w := range result.IDLWarnings {
		r.out.Printf("%s --idl: %s\n", r.out.Warn("!"), w)
	}
	peers := map[string]uint32{}
	for _, p := range result.Snapshot.GetRateLimitPolicies() {
		peers[p.GetName()] = r.replicas
	}
	if r.gateways != nil {
		if err := rls.Enforceable(result.Snapshot); err != nil {
			return err
		}
	}
	if err := r.plane.Apply(result.Snapshot, r.secrets(result), peers); err != nil {
		return err
	}
	if r.gateways != nil {
		domains := rls.Domains{}
		if err := domains.Add(result.Snapshot, r.plane.Engine); err != nil {
			return err
		}
		r.gateways.Serve(domains)
	}
	printSkipped(r.out, policies)
	printVerdicts(r.out, result.Verdicts)
	if result.Secrets != nil && r.secret == "" && !r.warned {
		r.warned = true
		r.out.Printf("%s Idempotency records are kept under a key that everybody knows, which is good for trials: give one with --secret-file.\n", r.out.Warn("!"))
	}
	if len(result.Verdicts) == 0 {
		r.out.Printf("The files hold no policy: everything passes.\n")
	}
	for _, v := range result.Verdicts {
		if v.Reason == string(v1alpha1.ReasonTargetNotFound) {
			r.out.Printf("%s Here a Service's port is the name of a --listener; there are: %s\n", r.out.Warn("!"), listenerNames(r.listeners))
			break
		}
	}
	return nil
}

// secrets are the store's and what the policies need.
func (r *running) secrets(result local.Result) *stream.Secrets {
	if result.Secrets == nil {
		return r.redis.Secrets
	}
	out := &stream.Secrets{NamespaceKey: result.Secrets.GetNamespaceKey(), Keys: result.Secrets.GetKeys()}
	out.Stores = r.redis.Secrets.GetStores()
	return out
}

func listenerNames(all []local.Listener) string {
	var names []string
	for _, l := range all {
		names = append(names, l.Name())
	}
	return strings.Join(names, ", ")
}

func printSkipped(p *term.Printer, policies local.Policies) {
	for _, s := range policies.Skipped {
		p.Printf("%s %s\n", p.Warn("skipped"), s)
	}
}

func printVerdicts(p *term.Printer, verdicts []local.Verdict) {
	for _, v := range verdicts {
		word := p.Good("accepted")
		switch {
		case !v.Accepted:
			word = p.Bad("refused")
		case v.Warning:
			word = p.Warn("accepted")
		}
		if v.Accepted && !v.Warning {
			p.Printf("%s %s %s\n", word, v.Kind, v.Name)
			continue
		}
		message := v.Reason + ": " + v.Message
		if v.Accepted {
			message = strings.TrimPrefix(v.Message, compile.AcceptedMessage+" ")
		}
		p.Printf("%s %s %s: %s\n", word, v.Kind, v.Name, message)
	}
}

func (r *running) listen() error {
	if r.implied {
		return nil
	}
	cluster, err := local.NewCluster("", r.listeners)
	if err != nil {
		return err
	}
	for i, l := range r.listeners {
		addr, err := r.plane.Listen(l.Listen, cluster.Ports[i], l.Upstream)
		if err != nil {
			return err
		}
		r.out.Printf("listening on %s for %s, before %s\n", addr, l.Name(), l.Upstream)
	}
	return nil
}

func (r *running) serveAdmin(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("--admin: %w", err)
	}
	a := admin.New(admin.Options{
		Version:  version,
		Ready:    func() bool { return true },
		Snapshot: func() *stream.SnapshotUpdate { return nil },
		Metrics:  r.plane.Metrics,
	})
	s := &http.Server{Handler: a.Public(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(l) }()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	r.out.Printf("health and metrics on http://%s\n", l.Addr())
	return nil
}

// serveGateways answers gateways until ctx ends; stop waits for the last answers.
func (r *running) serveGateways(ctx context.Context, address string) (stop func(), err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--rls: %w", err)
	}
	ended := make(chan struct{})
	serving, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		if err := rls.ListenAndServe(serving, l, r.gateways); err != nil {
			r.out.Printf("%s %v\n", r.out.Bad("!"), err)
		}
	}()
	r.out.Printf("Envoy's rate limit protocol on %s\n", l.Addr())
	return func() { cancel(); <-ended }, nil
}
