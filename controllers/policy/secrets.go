// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/keys"
)

// keyUsername and keyPassword are beside kubernetes.io/tls's own keys.
const (
	keyUsername = "username"
	keyPassword = "password"
)

// secrets are those of a namespace.
type secrets struct {
	// stores are credentials by store, and users keys by name.
	stores    map[string]*stream.StoreCredentials
	users     map[string]*stream.UserKey
	namespace *stream.NamespaceKey
}

// readSecrets collects what the policies of a namespace may need, and puts what the
// compiler is to know of it into in.
func (r *Reconciler) readSecrets(ctx context.Context, in *compile.Input) (secrets, error) {
	stores, err := r.credentialsOf(ctx, in.Namespace, in.NamespaceLabels)
	if err != nil {
		return secrets{}, err
	}
	out := secrets{stores: stores, users: map[string]*stream.UserKey{}, namespace: r.Keys.Namespace(r.Cluster, in.Namespace)}
	in.NamespaceKey = out.namespace.GetVersion()
	in.Credentials, in.Secrets = map[string]string{}, map[string]compile.Secret{}
	for name, s := range stores {
		in.Credentials[name] = s.GetVersion()
	}
	var named []string
	for _, ref := range compile.SecretRefs(in.IdempotencyPolicies) {
		name, key, previous := compile.KeyMembers(ref)
		s, err := r.Secrets.Get(ctx, in.Namespace, name)
		if err != nil {
			return secrets{}, err
		}
		named = append(named, name)
		if !s.Found && !s.Denied {
			continue
		}
		known := compile.Secret{Denied: s.Denied, Labelled: s.Labelled, Version: s.Version, Bytes: map[string]int{}}
		for member, value := range s.Data {
			known.Bytes[member] = len(value)
		}
		in.Secrets[name] = known
		out.users[compile.KeyName(ref)] = &stream.UserKey{
			Name: compile.KeyName(ref), Version: s.Version, Current: s.Data[key], Previous: s.Data[previous],
		}
	}
	r.Secrets.Keep(in.Namespace, named)
	return out, nil
}

// credentialsOf reads the Secrets of the stores that a namespace may use.
func (r *Reconciler) credentialsOf(ctx context.Context, ns string, labels map[string]string) (map[string]*stream.StoreCredentials, error) {
	out := map[string]*stream.StoreCredentials{}
	for i := range r.Config.Stores {
		s := &r.Config.Stores[i]
		name := s.Secret(ns)
		if name == "" || !s.AllowedNamespaces.Permits(ns, labels) {
			continue
		}
		var secret corev1.Secret
		err := r.Reader.Get(ctx, client.ObjectKey{Namespace: r.OperatorNamespace, Name: name}, &secret)
		if apierrors.IsNotFound(err) || err == nil && secret.Labels[keys.LabelUse] != keys.UseTrue {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("secret %s/%s: %w", r.OperatorNamespace, name, err)
		}
		out[s.Name] = &stream.StoreCredentials{
			Store: s.Name,
			// Not a hash of the content: passwords could be tried against it.
			Version:    string(secret.UID) + "/" + secret.ResourceVersion,
			Username:   string(secret.Data[keyUsername]),
			Password:   string(secret.Data[keyPassword]),
			ClientCert: secret.Data[corev1.TLSCertKey],
			ClientKey:  secret.Data[corev1.TLSPrivateKeyKey],
		}
	}
	return out, nil
}

// secretsFor are what a snapshot names, and nothing else; nil: none.
func (s *secrets) secretsFor(snap *snapshot.Snapshot) *stream.Secrets {
	out := &stream.Secrets{}
	for _, store := range snap.GetStores() {
		if own := s.stores[store.GetName()]; own != nil {
			out.Stores = append(out.Stores, own)
		}
	}
	if snap.GetNamespaceKeyVersion() != "" {
		out.NamespaceKey = s.namespace
	}
	var named []string
	for _, p := range snap.GetIdempotencyPolicies() {
		if key := p.GetEncryptionKey(); key != "" {
			named = append(named, key)
		}
	}
	slices.Sort(named)
	for _, name := range slices.Compact(named) {
		if key := s.users[name]; key != nil {
			out.Keys = append(out.Keys, key)
		}
	}
	if len(out.Stores) == 0 && out.NamespaceKey == nil && len(out.Keys) == 0 {
		return nil
	}
	return out
}
