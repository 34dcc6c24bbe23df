// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"cmp"
	"fmt"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// minKeyBytes is the least that a key may have.
const minKeyBytes = 16

// chooseKey sets the key that encrypts, where the policy names one.
func chooseKey(in *Input, d *draft) problem {
	ref := d.encryption
	if ref == nil {
		return problem{}
	}
	const at = "spec.encryption.secretRef"
	name, key, previous := KeyMembers(ref)
	s, there := in.Secrets[name]
	invalid := func(field, format string, args ...any) problem {
		return problem{v1alpha1.ReasonInvalid, at + field + ": " + fmt.Sprintf(format, args...)}
	}
	switch {
	case there && s.Denied:
		return problem{v1alpha1.ReasonRefNotPermitted, fmt.Sprintf("%s.name: The operator may not read Secrets of namespace %s: "+
			"let its ServiceAccount have the ClusterRole weir-secrets there, by a RoleBinding.", at, in.Namespace)}
	case !there:
		return invalid(".name", "There is no Secret %s in the namespace: make one with 32 random bytes as %s, and label it weir.dev/use: \"true\".", name, key)
	case !s.Labelled:
		return problem{v1alpha1.ReasonRefNotPermitted, fmt.Sprintf("%s.name: The Secret %s is not labelled weir.dev/use: \"true\", and without the label Weir does not read it: "+
			"set it, as with `kubectl label secret %s weir.dev/use=true`.", at, name, name)}
	}
	for _, m := range []struct {
		field, member string
		needed        bool
	}{{".key", key, true}, {".previousKey", previous, false}} {
		n, has := s.Bytes[m.member]
		switch {
		case !has && m.needed:
			return invalid(m.field, "The Secret %s has no member %s: add it, or name another.", name, m.member)
		case has && n < minKeyBytes:
			return invalid(m.field, "The member %s of the Secret %s has %d bytes: a key has 32 random ones, and %d at the least.", m.member, name, n, minKeyBytes)
		}
	}
	p, _ := d.policy.(*snapshot.IdempotencyPolicy)
	p.EncryptionKey, p.EncryptionVersion = KeyName(ref), s.Version
	return problem{}
}

// KeyMembers are the Secret that ref names and the members that hold the key and the
// one before.
func KeyMembers(ref *v1alpha1.SecretRef) (secret, key, previous string) {
	return ref.Name, cmp.Or(string(ref.Key), "secret"), cmp.Or(string(ref.PreviousKey), "previous")
}

// KeyName is what a key is called in snapshots and stream.Secrets.
func KeyName(ref *v1alpha1.SecretRef) string {
	secret, key, previous := KeyMembers(ref)
	return secret + "/" + key + "/" + previous
}

// SecretRefs are those of a namespace's policies.
func SecretRefs(policies []v1alpha1.IdempotencyPolicy) []*v1alpha1.SecretRef {
	var out []*v1alpha1.SecretRef
	for i := range policies {
		if e := policies[i].Spec.Encryption; e != nil {
			out = append(out, &e.SecretRef)
		}
	}
	return out
}
