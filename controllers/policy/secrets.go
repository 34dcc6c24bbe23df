// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// keyUsername and keyPassword are beside kubernetes.io/tls's own keys.
const (
	keyUsername = "username"
	keyPassword = "password"
)

// credentials are those of a namespace, by store.
type credentials map[string]*stream.StoreCredentials

// credentialsOf reads the Secrets of the stores that a namespace may use.
func (r *Reconciler) credentialsOf(ctx context.Context, ns string, labels map[string]string) (credentials, error) {
	out := credentials{}
	for i := range r.Config.Stores {
		s := &r.Config.Stores[i]
		name := s.Secret(ns)
		if name == "" || !s.AllowedNamespaces.Permits(ns, labels) {
			continue
		}
		var secret corev1.Secret
		err := r.Reader.Get(ctx, client.ObjectKey{Namespace: r.OperatorNamespace, Name: name}, &secret)
		if apierrors.IsNotFound(err) || err == nil && secret.Labels[LabelUse] != UseTrue {
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

func (c credentials) versions() map[string]string {
	out := map[string]string{}
	for name, s := range c {
		out[name] = s.GetVersion()
	}
	return out
}

// secretsFor are the credentials of the stores that a snapshot names; nil: none.
func (c credentials) secretsFor(s *snapshot.Snapshot) *stream.Secrets {
	var out *stream.Secrets
	for _, store := range s.GetStores() {
		if own := c[store.GetName()]; own != nil {
			if out == nil {
				out = &stream.Secrets{}
			}
			out.Stores = append(out.Stores, own)
		}
	}
	return out
}
