// SPDX-License-Identifier: Apache-2.0

package local

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/keys"
)

// members of a Secret as the API server would have them: stringData wins.
func members(s *corev1.Secret) map[string][]byte {
	out := maps.Clone(s.Data)
	if out == nil {
		out = map[string][]byte{}
	}
	for k, v := range s.StringData {
		out[k] = []byte(v)
	}
	return out
}

// known is what the compiler is to know of a Secret in the files. Its version is a hash,
// as there is no API server to give it one, and it stays in this process.
func known(s *corev1.Secret) compile.Secret {
	out := compile.Secret{Labelled: s.Labels[keys.LabelUse] == keys.UseTrue, Bytes: map[string]int{}}
	sum := sha256.New()
	data := members(s)
	for _, k := range slices.Sorted(maps.Keys(data)) {
		_, _ = fmt.Fprintf(sum, "%q %x\n", k, data[k])
		out.Bytes[k] = len(data[k])
	}
	out.Version = hex.EncodeToString(sum.Sum(nil)[:8])
	return out
}

// secretsOf are what the operator would send beside the snapshot.
func secretsOf(s *snapshot.Snapshot, key *stream.NamespaceKey, policies []v1alpha1.IdempotencyPolicy, p Policies) *stream.Secrets {
	if s.GetNamespaceKeyVersion() == "" || key == nil {
		return nil
	}
	out := &stream.Secrets{NamespaceKey: key}
	for _, ref := range compile.SecretRefs(policies) {
		name, current, previous := compile.KeyMembers(ref)
		for _, o := range p.Objects {
			if secret, is := o.(*corev1.Secret); is && secret.Name == name {
				data := members(secret)
				out.Keys = append(out.Keys, &stream.UserKey{
					Name: compile.KeyName(ref), Version: known(secret).Version, Current: data[current], Previous: data[previous],
				})
			}
		}
	}
	return out
}
