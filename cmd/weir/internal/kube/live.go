// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
)

// Live is what the operator makes of a namespace as it is.
type Live struct {
	compile.Output
	// Notes are what could not be read, and what holds instead.
	Notes []string
}

// Compile reads the policies, Services and pods of the namespace, and runs the
// operator's compiler over them. Credentials of stores and other Secrets are not read:
// those that policies name are taken to be as they should be.
func (c *Cluster) Compile(ctx context.Context) (Live, error) {
	var out Live
	in := compile.Input{Cluster: "live", Namespace: c.Namespace, NamespaceKey: "unread", Credentials: map[string]string{}}
	var err error
	if in.RateLimitPolicies, in.IdempotencyPolicies, in.CallbackRoutes, err = c.Policies(ctx); err != nil {
		return out, err
	}
	var services corev1.ServiceList
	var pods corev1.PodList
	for _, l := range []client.ObjectList{&services, &pods} {
		if err := c.List(ctx, l, c.In()); err != nil {
			return out, fmt.Errorf("read namespace %s: %w", c.Namespace, err)
		}
	}
	in.Services, in.Pods = services.Items, pods.Items
	in.RateLimitPolicies = slices.DeleteFunc(in.RateLimitPolicies, func(p v1alpha1.RateLimitPolicy) bool { return p.DeletionTimestamp != nil })
	in.IdempotencyPolicies = slices.DeleteFunc(in.IdempotencyPolicies, func(p v1alpha1.IdempotencyPolicy) bool { return p.DeletionTimestamp != nil })
	in.Secrets = map[string]compile.Secret{}
	for _, ref := range compile.SecretRefs(in.IdempotencyPolicies) {
		name, key, _ := compile.KeyMembers(ref)
		if in.Secrets[name].Bytes == nil {
			in.Secrets[name] = compile.Secret{Labelled: true, Version: "unread", Bytes: map[string]int{}}
		}
		in.Secrets[name].Bytes[key] = 32
	}
	var known bool
	if in.Config, known, err = c.configuration(ctx); err != nil {
		return out, err
	}
	if !known {
		out.Notes = append(out.Notes, fmt.Sprintf("The operator's configuration (ConfigMap %s/%s) is not there or may not be read: "+
			"trusted proxies and identity headers are those of annotations only.", c.System, configMapName))
		in.Config = config.Default()
		in.Config.Stores = storesOf(in.RateLimitPolicies, in.IdempotencyPolicies)
	}
	for i := range c.JWTProviders {
		if _, ok := in.Config.JWTProvider(c.JWTProviders[i].Name); !ok {
			in.Config.JWTProviders = append(in.Config.JWTProviders, c.JWTProviders[i])
		}
	}
	in.JWTKeys = c.JWTKeys
	for i := range in.Config.Stores {
		in.Credentials[in.Config.Stores[i].Name] = "unread"
	}
	var ns corev1.Namespace
	switch err := c.Get(ctx, client.ObjectKey{Name: c.Namespace}, &ns); {
	case err == nil:
		in.NamespaceLabels = ns.Labels
	case !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err):
		return out, fmt.Errorf("read namespace %s: %w", c.Namespace, err)
	}
	out.Output = compile.Compile(in)
	return out, nil
}

// configuration is the operator's; known is false where it is not there or may not
// be read.
func (c *Cluster) configuration(ctx context.Context) (cfg config.Config, known bool, err error) {
	var m corev1.ConfigMap
	err = c.Get(ctx, client.ObjectKey{Namespace: c.System, Name: configMapName}, &m)
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return cfg, false, nil
	}
	if err != nil {
		return cfg, false, err
	}
	if cfg, err = config.Parse([]byte(m.Data[configKey])); err != nil {
		return cfg, false, fmt.Errorf("configmap %s/%s, key %s: %w", c.System, configMapName, configKey, err)
	}
	return cfg, true, nil
}

// storesOf stand for the stores that policies name.
func storesOf(limits []v1alpha1.RateLimitPolicy, idempotency []v1alpha1.IdempotencyPolicy) []config.Store {
	names := []string{"default"}
	for i := range limits {
		names = append(names, string(limits[i].Spec.StoreRef.Name))
	}
	for i := range idempotency {
		names = append(names, string(idempotency[i].Spec.StoreRef.Name))
	}
	slices.Sort(names)
	var out []config.Store
	for _, n := range slices.Compact(names) {
		if n != "" {
			out = append(out, config.Store{Name: n, KeyPrefix: config.DefaultKeyPrefix, AllowedNamespaces: config.AllowedNamespaces{From: config.FromAll}})
		}
	}
	return out
}

// WorkloadOf returns the workload behind a Service: of several that with the most
// ready pods, which is then said in Notes. Named is service/port: port, or where it is
// empty the only one that is governed; the Service's name alone where none is.
func (l *Live) WorkloadOf(service, port string) (w *compile.Workload, named string, err error) {
	n := 0
	for i := range l.Workloads {
		if !slices.Contains(l.Workloads[i].Services, service) {
			continue
		}
		n++
		if w == nil || ready(&l.Workloads[i]) > ready(w) {
			w = &l.Workloads[i]
		}
	}
	if w == nil {
		return nil, "", fmt.Errorf("no pod that runs is behind a Service %s", service)
	}
	if n > 1 {
		l.Notes = append(l.Notes, fmt.Sprintf("The pods behind %s have %d different sets of ports or annotations: explained is that of most ready pods.", service, n))
	}
	if port != "" {
		return w, service + "/" + port, nil
	}
	names := portsOf(w.Snapshot, service)
	switch len(names) {
	case 0:
		return w, service, nil
	case 1:
		return w, names[0], nil
	}
	return nil, "", fmt.Errorf("policies govern the ports %s: name one of them", strings.Join(names, ", "))
}

func ready(w *compile.Workload) (n int) {
	for _, p := range w.Pods {
		if p.Ready {
			n++
		}
	}
	return n
}

// portsOf are the governed ports of a Service, by the first of their names.
func portsOf(s *snapshot.Snapshot, service string) []string {
	var out []string
	for _, p := range s.GetPorts() {
		if len(snapshot.Governing(p)) == 0 {
			continue
		}
		// Names are sorted: digits before letters, so the last of a Service's is the name.
		last := ""
		for _, n := range p.GetNames() {
			if strings.HasPrefix(n, service+"/") {
				last = n
			}
		}
		if last != "" {
			out = append(out, last)
		}
	}
	slices.Sort(out)
	return out
}

// Acked is the generation of a policy that a pod has acked, 0: none.
func Acked(states []*stream.PodState, uid string, policy snapshot.PolicyID) int64 {
	for _, s := range states {
		if s.GetUid() != uid {
			continue
		}
		for _, a := range s.GetAcked() {
			if a.GetPolicy() == policy.String() {
				return a.GetGeneration()
			}
		}
	}
	return 0
}
