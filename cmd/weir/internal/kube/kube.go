// SPDX-License-Identifier: Apache-2.0

// Package kube is the CLI's way to a cluster: a client for what kubectl would
// show, and a tunnel to the operator for what only it knows. It reads, and
// changes nothing.
package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"

	operator "weir.dev/weir/controllers/config"
)

// Flags are those of kubectl that say which cluster and namespace.
type Flags struct {
	Kubeconfig, Context, Namespace string
	AllNamespaces                  bool
	// System is the namespace Weir is installed in.
	System string
}

// Add defines the flags.
func (f *Flags) Add(s *pflag.FlagSet) {
	s.StringVar(&f.Kubeconfig, "kubeconfig", "", "path of the kubeconfig (default: as kubectl finds it)")
	s.StringVar(&f.Context, "context", "", "context of the kubeconfig (default: the current one)")
	s.StringVarP(&f.Namespace, "namespace", "n", "", "namespace (default: the context's)")
	s.BoolVarP(&f.AllNamespaces, "all-namespaces", "A", false, "look at all namespaces")
	s.StringVar(&f.System, "weir-namespace", "weir-system", "namespace that Weir is installed in")
}

// requestTimeout is for one request to the API server.
const requestTimeout = 15 * time.Second

// Cluster is an open connection.
type Cluster struct {
	client.Client
	config *rest.Config
	// Namespace to look at; empty for all.
	Namespace string
	System    string
	// JWTProviders and JWTKeys are what is known beside the cluster: of the first those
	// that its configuration has not, of the second all.
	JWTProviders []operator.JWTProvider
	JWTKeys      map[string][]*snapshot.JWTKey
}

// Open reads the kubeconfig; it does not yet talk to the cluster.
func (f *Flags) Open() (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.Kubeconfig
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.Context})
	config, err := loader.ClientConfig()
	raw, _ := loader.RawConfig() // its error is err too
	_, known := raw.Contexts[f.Context]
	switch {
	case len(raw.Contexts) > 0 && f.Context != "" && !known:
		return nil, fmt.Errorf("no cluster to talk to: the kubeconfig has no context %q; `kubectl config get-contexts` lists those it has", f.Context)
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no cluster to talk to: there is no kubeconfig; name one with --kubeconfig or KUBECONFIG")
	case err != nil:
		return nil, fmt.Errorf("no cluster to talk to: %w", err)
	}
	ns := f.Namespace
	if ns == "" {
		if ns, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("read the context's namespace: %w", err)
		}
	}
	if f.AllNamespaces {
		ns = ""
	}
	config.UserAgent = "kubectl-weir"
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, coordinationv1.AddToScheme, admissionv1.AddToScheme,
		apiextv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	// A server that does not answer is said before anybody takes this for hung.
	patient := rest.CopyConfig(config)
	patient.Timeout = requestTimeout
	c, err := client.New(patient, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return &Cluster{Client: c, config: config, Namespace: ns, System: f.System}, nil
}

// In limits a list to the namespace that was asked for.
func (c *Cluster) In() client.ListOption { return client.InNamespace(c.Namespace) }

// Policies lists the policies of all three kinds that there are.
func (c *Cluster) Policies(ctx context.Context) ([]v1alpha1.RateLimitPolicy, []v1alpha1.IdempotencyPolicy, []v1alpha1.CallbackRoute, error) {
	var rl v1alpha1.RateLimitPolicyList
	var id v1alpha1.IdempotencyPolicyList
	var cb v1alpha1.CallbackRouteList
	for _, l := range []client.ObjectList{&rl, &id, &cb} {
		if err := c.List(ctx, l, c.In()); err != nil {
			if meta.IsNoMatchError(err) {
				return nil, nil, nil, errors.New("this cluster has no RateLimitPolicy, IdempotencyPolicy and CallbackRoute: Weir is not installed in it, or not whole; `kubectl weir check` says what is missing")
			}
			return nil, nil, nil, fmt.Errorf("list policies: %w", err)
		}
	}
	return rl.Items, id.Items, cb.Items, nil
}
