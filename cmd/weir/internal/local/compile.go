// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"sort"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
)

// ClusterID begins the Redis keys of all processes that run without a cluster.
const ClusterID = "local"

// Settings are what flags say beside files and listeners.
type Settings struct {
	// Redis holds counters of scope Cluster; nil: this process's memory.
	Redis *config.Redis
	// Telemetry of the data plane; zero: none.
	Telemetry config.Telemetry
	// JWT is the providers of tokens.
	JWT JWT
	// IDLs make requests into calls of Thrift.
	IDLs []IDL
	// Key is the namespace's; nil where nothing is served, and its version does not matter.
	Key *stream.NamespaceKey
}

// Result is what the operator would make of the files.
type Result struct {
	Snapshot *snapshot.Snapshot
	Verdicts []Verdict
	// BadIDLs are why mappings to Thrift are not valid, and IDLWarnings what to look at in
	// those that are: sentences with the port.
	BadIDLs, IDLWarnings []string
	// Secrets are the keys that the snapshot names, with Settings.Key; nil: none.
	Secrets *stream.Secrets
}

// Verdict is what a policy's status would say.
type Verdict struct {
	Kind, Name string
	Accepted   bool
	Reason     string
	Message    string
	// Warning: it is accepted, and Message says what to look at.
	Warning bool
}

// Compile runs the operator's compiler over files and listeners.
func Compile(p Policies, listeners []Listener, s Settings) (Result, error) {
	cluster, err := NewCluster(p.Namespace, listeners)
	if err != nil {
		return Result{}, err
	}
	cfg := config.Default()
	cfg.Telemetry = s.Telemetry
	cfg.JWTProviders = s.JWT.Providers
	cfg.Stores = []config.Store{{Name: storeName, Redis: s.Redis, KeyPrefix: "weir", AllowedNamespaces: config.AllowedNamespaces{From: "All"}}}
	transcodings, bad, warnings, err := annotate(cluster.Services, s.IDLs)
	if err != nil {
		return Result{}, err
	}
	in := compile.Input{
		Transcodings: transcodings,
		Cluster:      ClusterID, Namespace: p.Namespace, Config: cfg,
		Services: cluster.Services, Pods: []corev1.Pod{cluster.Pod},
		Credentials: map[string]string{}, JWTKeys: s.JWT.Keys,
		NamespaceKey: cmp.Or(s.Key.GetVersion(), "local"), Secrets: map[string]compile.Secret{},
	}
	if s.Redis != nil && s.Redis.Credentials.Secret != "" {
		in.Credentials[storeName] = s.Redis.Credentials.Secret
	}
	for _, o := range p.Objects {
		switch o := o.(type) {
		case *v1alpha1.RateLimitPolicy:
			in.RateLimitPolicies = append(in.RateLimitPolicies, *o)
		case *v1alpha1.IdempotencyPolicy:
			in.IdempotencyPolicies = append(in.IdempotencyPolicies, *o)
		case *v1alpha1.CallbackRoute:
			in.CallbackRoutes = append(in.CallbackRoutes, *o)
		case *corev1.Secret:
			in.Secrets[o.Name] = known(o)
		}
	}
	out := compile.Compile(in)
	r := Result{BadIDLs: bad, IDLWarnings: warnings, Snapshot: &snapshot.Snapshot{Workload: &snapshot.Workload{Cluster: ClusterID, Namespace: p.Namespace, Key: "local"}}}
	if len(out.Workloads) == 1 {
		r.Snapshot = out.Workloads[0].Snapshot
	}
	r.Secrets = secretsOf(r.Snapshot, s.Key, in.IdempotencyPolicies, p)
	for i := range out.Verdicts {
		v := &out.Verdicts[i]
		r.Verdicts = append(r.Verdicts, Verdict{
			Kind: v.Policy.Kind, Name: v.Policy.Name, Accepted: v.Accepted(), Reason: string(v.Reason), Message: v.Message,
			Warning: v.Accepted() && (v.Message != compile.AcceptedMessage || v.Reason != v1alpha1.ReasonAccepted),
		})
	}
	return r, nil
}

// Implied are the listeners that the targets of policies are about, for checks
// and for `weir compile`, where nothing listens: each port that is named, and
// port http of Services of which none is.
func Implied(p Policies) []Listener { return ImpliedWith(p, nil) }

// ImpliedWith are those of Implied and the ports of IDLs.
func ImpliedWith(p Policies, idls []IDL) []Listener {
	ports := map[string]map[string]bool{}
	for _, i := range idls {
		if ports[i.Service] == nil {
			ports[i.Service] = map[string]bool{}
		}
		ports[i.Service][i.Port] = true
	}
	for _, o := range p.Objects {
		for _, t := range targetRefs(o) {
			name := string(t.Name)
			if ports[name] == nil {
				ports[name] = map[string]bool{}
			}
			if t.SectionName != "" {
				ports[name][string(t.SectionName)] = true
			}
		}
	}
	var all []Listener
	for service, names := range ports {
		if len(names) == 0 {
			names["http"] = true
		}
		for port := range names {
			all = append(all, Listener{Service: service, Port: port})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name() < all[j].Name() })
	return all
}

func targetRefs(o any) []v1alpha1.TargetRef {
	switch o := o.(type) {
	case *v1alpha1.RateLimitPolicy:
		return o.Spec.TargetRefs
	case *v1alpha1.IdempotencyPolicy:
		return o.Spec.TargetRefs
	}
	return nil
}
