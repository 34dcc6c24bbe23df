// SPDX-License-Identifier: Apache-2.0

// Command weir-operator is Weir's control plane: it injects sidecars, compiles
// policies, streams them to sidecars and writes what came of it into their status.
// Several replicas run; every one serves webhook and streams, one leads and writes.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/admission"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/configserver"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/inject"
	"weir.dev/weir/controllers/jwks"
	"weir.dev/weir/controllers/keys"
	"weir.dev/weir/controllers/mapping"
	"weir.dev/weir/controllers/pki"
	"weir.dev/weir/controllers/policy"
	"weir.dev/weir/controllers/rollout"
	"weir.dev/weir/controllers/status"
)

// version is set by the linker.
var version = "dev"

func main() {
	// What gRPC has to say reaches our log as errors of its calls.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := rootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "weir-operator:", err)
		os.Exit(1)
	}
}

func rootCommand() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:           "weir-operator",
		Short:         "Weir's control plane",
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			rest, err := ctrl.GetConfig()
			if err != nil {
				return fmt.Errorf("reach the API server: %w", err)
			}
			log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: o.logLevel}))
			return run(cmd.Context(), o, rest, metrics.Registry, log)
		},
	}
	o.bind(root.Flags(), os.Getenv)
	root.AddCommand(devBackendsCommand())
	return root
}

// run is the whole operator.
func run(signals context.Context, o options, restConfig *rest.Config, counters prometheus.Registerer, log *slog.Logger) error {
	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	conf, err := o.readConfig()
	if err != nil {
		return err
	}
	if conf.DevBackends.Enabled {
		log.Warn("devBackends are enabled: what they hold is lost with their pod. Never use them in production.")
	}
	clientset, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	direct, err := client.New(restConfig, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	cluster, err := o.cluster(signals, direct)
	if err != nil {
		return err
	}
	known, err := openKeys(signals, direct, o, log)
	if err != nil {
		return err
	}
	issuer := pki.NewIssuer(pki.Options{
		Reader: direct, Writer: direct, Namespace: o.namespace, Service: o.service, Names: o.certificateNames,
		Log: logr.FromSlogHandler(log.Handler()).WithName("pki"),
	})
	if err := pki.Register(counters, issuer); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	mgr, err := newManager(o, restConfig, clientset, issuer)
	if err != nil {
		return fmt.Errorf("make the manager: %w", err)
	}
	if err := mgr.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return err
	}
	if err := addInjection(mgr, o, conf, issuer, counters, log); err != nil {
		return err
	}
	if err := addPolicies(mgr, o, conf, cluster, clientset, issuer, known, counters, log); err != nil {
		return err
	}
	log.Info("starting", "version", version, "pod", o.podName, "cluster", cluster)
	return mgr.Start(delayed(signals, o.shutdownDelay, log))
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	// Neither fails on a fresh scheme.
	_ = clientgoscheme.AddToScheme(scheme)
	_ = v1alpha1.AddToScheme(scheme)
	return scheme
}

// newManager: the Lease's holder is a rollout.Identity, by which the other
// replicas find the leader.
func newManager(o options, restConfig *rest.Config, clientset kubernetes.Interface, issuer *pki.Issuer) (ctrl.Manager, error) {
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: o.namespace, Name: o.lease},
		Client:     clientset.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: o.identity().String()},
	}
	kept := policy.ByObject(o.namespace)
	maps.Copy(kept, map[client.Object]cache.ByObject{
		&corev1.Namespace{}: {Transform: cache.TransformStripManagedFields()},
		&corev1.ConfigMap{}: {
			Field: fields.OneTermEqualSelector("metadata.name", podspec.ConfigMapCA), Transform: cache.TransformStripManagedFields(),
		},
		&admissionv1.MutatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name", o.webhook)},
	})
	return ctrl.NewManager(restConfig, ctrl.Options{
		Scheme:                              newScheme(),
		Cache:                               cache.Options{ByObject: kept},
		Metrics:                             server.Options{BindAddress: o.metricsAddress},
		HealthProbeBindAddress:              o.healthAddress,
		LeaderElection:                      true,
		LeaderElectionResourceLockInterface: lock,
		LeaderElectionReleaseOnCancel:       true,
		WebhookServer: webhook.NewServer(webhook.Options{Port: o.webhookPort, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
			c.GetCertificate = issuer.GetCertificate
			c.MinVersion = tls.VersionTLS13
		}}}),
	})
}

// addInjection adds the webhook and what it is trusted by.
func addInjection(mgr ctrl.Manager, o options, conf config.Config, issuer *pki.Issuer, counters prometheus.Registerer,
	log *slog.Logger,
) error {
	counts, err := admission.NewMetrics(counters)
	if err != nil {
		return err
	}
	trust := &pki.Trust{Bundler: issuer, Reader: mgr.GetClient(), Writer: mgr.GetClient()}
	if o.rlsAccount != "" {
		trust.Own = o.namespace
	}
	hook := &pki.Webhook{Bundler: issuer, Reader: mgr.GetClient(), Writer: mgr.GetClient(), Name: o.webhook}
	if err := pki.Setup(mgr, issuer, trust, hook); err != nil {
		return err
	}
	profile := inject.Profile{
		Version: version, Image: o.image, PullPolicy: corev1.PullPolicy(o.pullPolicy), Operator: o.streamAddress(),
		Capture: conf.Injection.Capture, OnMissingConfig: conf.Injection.OnMissingConfig, Resources: conf.Injection.Resources,
		LogLevel: o.sidecarLogLevel,
	}
	for _, ref := range conf.Injection.ImagePullSecrets {
		profile.PullSecrets = append(profile.PullSecrets, ref.Name)
	}
	hooks := mgr.GetWebhookServer()
	hooks.Register(admission.Path, &webhook.Admission{Handler: &admission.Handler{
		Profile: profile, Cache: mgr.GetClient(), Live: mgr.GetAPIReader(), Trust: trust,
		Events: mgr.GetEventRecorder("weir-operator"), Metrics: counts, Log: logr.FromSlogHandler(log.Handler()).WithName("admission"),
	}})
	return mgr.AddReadyzCheck("webhook", hooks.StartedChecker())
}

// keysEvery is how soon another key is seen.
const keysEvery = 10 * time.Second

// mappingsEvery is how soon another IDL is seen.
const mappingsEvery = 5 * time.Second

// keyring is what encrypts and signs for namespaces.
type keyring struct {
	root    *keys.Root
	secrets *keys.Secrets
}

// openKeys reads or makes the root key: without it nothing could be recorded.
func openKeys(ctx context.Context, direct client.Client, o options, log *slog.Logger) (keyring, error) {
	opts := keys.Options{Client: direct, Namespace: o.namespace, Every: keysEvery, Log: log.With("part", "keys")}
	root, err := keys.OpenRoot(ctx, opts)
	if err != nil {
		return keyring{}, fmt.Errorf("open the root key: %w", err)
	}
	return keyring{root: root, secrets: keys.NewSecrets(opts)}, nil
}

// addPolicies adds the way from policies to sidecars, and back to their status.
func addPolicies(mgr ctrl.Manager, o options, conf config.Config, cluster string, clientset kubernetes.Interface,
	issuer *pki.Issuer, known keyring, counters prometheus.Registerer, log *slog.Logger,
) error {
	counts, err := configserver.NewMetrics(counters)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	compiles, err := policy.NewMetrics(counters)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	convergence, err := status.NewMetrics(counters)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	snapshots, tracker := hub.New(cluster), rollout.New(o.podName)
	writer := status.New(&status.Cluster{Reader: mgr.GetCache(), Writer: mgr.GetClient()}, tracker, log.With("part", "status"))
	writer.Metrics = convergence
	tokenKeys := jwks.New(jwks.Options{Providers: conf.JWTProviders, Client: jwks.NewClient(), Log: log.With("part", "jwks")})
	mappings := mapping.New(mapping.Options{Client: mgr.GetAPIReader(), Every: mappingsEvery, Log: log.With("part", "mapping")})
	reconciler := policy.New(policy.Options{
		Reader: mgr.GetCache(), JWT: tokenKeys, Config: conf, Cluster: cluster, OperatorNamespace: o.namespace,
		Hub: snapshots, Rollout: tracker, Status: writer, Keys: known.root, Secrets: known.secrets,
		Mappings: mappings, Events: mgr.GetEventRecorder("weir-operator"),
		Metrics: compiles, Log: log.With("part", "policy"),
	})
	if err := reconciler.SetupWithManager(mgr); err != nil {
		return err
	}
	tokens := configserver.NewTokenReviews(clientset.AuthenticationV1().TokenReviews())
	replicas := &rollout.Service{
		Tracker: tracker, Leading: func() bool { return closed(mgr.Elected()) },
		Authorize: configserver.Only(tokens, o.namespace, o.serviceAccount),
	}
	streams := configserver.New(configserver.Options{
		Hub: snapshots, Rollout: replicas, Auth: tokens, Pod: podFrom(mgr.GetCache()), Injected: policy.Injected,
		Synced: reconciler.Synced, Certificate: issuer.GetCertificate, Gateways: o.gateways(), Metrics: counts, Log: log.With("part", "stream"),
	})
	follower := &rollout.Follower{
		Tracker: tracker, Self: o.identity().String(), Leader: rollout.LeaseHolder(mgr.GetAPIReader(), o.namespace, o.lease),
		Dial: (&rollout.Dialer{ServerName: o.serverName(), Roots: issuer.Roots, TokenFile: o.tokenFile}).Dial,
		Log:  log.With("part", "rollout"),
	}
	for _, r := range []manager.Runnable{
		writer,
		everywhere(func(ctx context.Context) error { return serveStreams(ctx, streams, o.streamListen) }),
		everywhere(follower.Run),
		everywhere(tokenKeys.Run),
		everywhere(known.root.Run),
		everywhere(known.secrets.Run),
		everywhere(mappings.Run),
		everywhere(func(ctx context.Context) error { return serveAdmin(ctx, o.adminAddress, replicas.Handler()) }),
	} {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("add to the manager: %w", err)
		}
	}
	return mgr.AddReadyzCheck("policies", readyWhen(reconciler.Synced, "not every namespace is compiled yet"))
}

func serveStreams(ctx context.Context, s *configserver.Server, address string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen for sidecars: %w", err)
	}
	return s.Serve(ctx, l)
}

func podFrom(reader client.Reader) func(ctx context.Context, namespace, name string) (metav1.Object, error) {
	return func(ctx context.Context, namespace, name string) (metav1.Object, error) {
		pod := &corev1.Pod{}
		if err := reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, pod); err != nil {
			return nil, err
		}
		return pod, nil
	}
}

// delayed ends some time after signals: until then the Service's endpoints still
// lead here, and the API server would refuse pods whose webhook is gone.
func delayed(signals context.Context, delay time.Duration, log *slog.Logger) context.Context {
	ctx, stop := context.WithCancel(context.WithoutCancel(signals))
	context.AfterFunc(signals, func() {
		log.Info("stopping", "in", delay.String())
		time.AfterFunc(delay, stop)
	})
	return ctx
}
