// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/configserver"
	"weir.dev/weir/controllers/rollout"
)

// options are the flags. The chart sets those that depend on the installation.
type options struct {
	configFile string
	clusterID  string

	namespace      string
	podName        string
	podIP          string
	service        string
	serviceAccount string
	rlsAccount     string
	lease          string
	webhook        string
	tokenFile      string

	image           string
	pullPolicy      string
	sidecarLogLevel string

	webhookPort      int
	streamListen     string
	metricsAddress   string
	healthAddress    string
	adminAddress     string
	certificateNames []string

	shutdownDelay time.Duration
	logLevel      slog.Level
}

func (o *options) bind(f *pflag.FlagSet, getenv func(string) string) {
	env := func(name, otherwise string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	f.StringVar(&o.configFile, "config", "/etc/weir/config.yaml", "operator configuration")
	f.StringVar(&o.clusterID, "cluster-id", "", "begins this cluster's keys in shared stores; default: from the UID of namespace kube-system")

	f.StringVar(&o.namespace, "namespace", env("POD_NAMESPACE", "weir-system"), "namespace of the operator ($POD_NAMESPACE)")
	f.StringVar(&o.podName, "pod-name", env("POD_NAME", ""), "name of this pod ($POD_NAME)")
	f.StringVar(&o.podIP, "pod-ip", env("POD_IP", ""), "address of this pod, at which the other replicas reach it ($POD_IP)")
	f.StringVar(&o.service, "service", "weir-operator", "Service of the webhook and the config stream")
	f.StringVar(&o.serviceAccount, "service-account", "weir-operator", "ServiceAccount of the operator's replicas")
	f.StringVar(&o.rlsAccount, "rls-service-account", "", "ServiceAccount, of the operator's namespace, of the rate limit services of gateways, which get all policies and credentials (default: none)")
	f.StringVar(&o.lease, "lease", "weir-operator", "Lease of the leader")
	f.StringVar(&o.webhook, "webhook-configuration", "weir-injector", "MutatingWebhookConfiguration whose caBundle is kept")
	f.StringVar(&o.tokenFile, "token-file", podspec.FileToken, "projected token of audience "+podspec.Audience+", shown to the leader")

	f.StringVar(&o.image, "image", "", "image that is injected")
	f.StringVar(&o.pullPolicy, "image-pull-policy", "", "its pull policy: Always, IfNotPresent (default) or Never")
	f.StringVar(&o.sidecarLogLevel, "sidecar-log-level", "", "debug, info (default), warn or error")

	f.IntVar(&o.webhookPort, "webhook-port", 9443, "port of the webhook")
	f.StringVar(&o.streamListen, "stream-address", ":8443", "address of the config stream; the Service has the same port")
	f.StringVar(&o.metricsAddress, "metrics-address", ":8080", "address of /metrics; 0 for none")
	f.StringVar(&o.healthAddress, "health-address", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.adminAddress, "admin-address", "127.0.0.1:"+strconv.Itoa(podspec.PortAdmin), "address of /rollout and /debug/pprof")
	f.StringSliceVar(&o.certificateNames, "certificate-name", nil, "one more name that the certificate is for")

	f.DurationVar(&o.shutdownDelay, "shutdown-delay", 5*time.Second, "time between the signal and the end, for endpoints to lead elsewhere")
	f.TextVar(&o.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
}

// check refuses what would fail later with a message that nobody understands.
func (o *options) check() error {
	var errs []error
	if o.image == "" {
		errs = append(errs, errors.New("--image is empty: say which image is injected"))
	}
	switch corev1.PullPolicy(o.pullPolicy) {
	case "", corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		errs = append(errs, fmt.Errorf("--image-pull-policy is %q: write Always, IfNotPresent or Never", o.pullPolicy))
	}
	if o.podName == "" {
		errs = append(errs, errors.New("--pod-name is empty: set $POD_NAME by the downward API (metadata.name)"))
	}
	if _, err := netip.ParseAddr(o.podIP); err != nil {
		errs = append(errs, fmt.Errorf("--pod-ip is %q, not an address: set $POD_IP by the downward API (status.podIP)", o.podIP))
	}
	if _, err := o.streamPort(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (o *options) streamPort() (uint16, error) {
	if a, err := netip.ParseAddrPort(o.streamListen); err == nil && a.Port() > 0 {
		return a.Port(), nil
	}
	if len(o.streamListen) > 1 && o.streamListen[0] == ':' {
		if n, err := strconv.ParseUint(o.streamListen[1:], 10, 16); err == nil && n > 0 {
			return uint16(n), nil
		}
	}
	return 0, fmt.Errorf("--stream-address is %q: write :PORT or IP:PORT", o.streamListen)
}

// identity is what this replica writes into the Lease.
func (o *options) identity() rollout.Identity {
	port, _ := o.streamPort() // checked
	addr, _ := netip.ParseAddr(o.podIP)
	return rollout.Identity{Pod: o.podName, Address: netip.AddrPortFrom(addr, port)}
}

// serverName is the Service's name, for which certificates are.
func (o *options) serverName() string { return o.service + "." + o.namespace + ".svc" }

// streamAddress is where sidecars find the config stream.
func (o *options) streamAddress() string {
	port, _ := o.streamPort()
	return o.serverName() + ":" + strconv.Itoa(int(port))
}

// gateways is the ServiceAccount that may call Fleet.
func (o *options) gateways() configserver.Account {
	if o.rlsAccount == "" {
		return configserver.Account{}
	}
	return configserver.Account{Namespace: o.namespace, Name: o.rlsAccount}
}

func (o *options) readConfig() (config.Config, error) {
	b, err := os.ReadFile(o.configFile)
	if err != nil {
		return config.Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := config.Parse(b)
	if err != nil {
		return config.Config{}, fmt.Errorf("%s: %w", o.configFile, err)
	}
	return c, nil
}

// cluster is the id of the cluster: two that share a Redis must not share keys.
func (o *options) cluster(ctx context.Context, reader client.Reader) (string, error) {
	if o.clusterID != "" {
		return o.clusterID, nil
	}
	ns := &corev1.Namespace{}
	if err := reader.Get(ctx, client.ObjectKey{Name: "kube-system"}, ns); err != nil {
		return "", fmt.Errorf("derive the cluster's id (or set --cluster-id): %w", err)
	}
	const enough = 8 // hex digits of a random UID
	return string(ns.UID[:min(len(ns.UID), enough)]), nil
}
