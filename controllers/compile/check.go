// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/config"
)

// problem is why a policy is not accepted; without a reason there is none.
type problem struct {
	reason  v1alpha1.ConditionReason
	message string
}

// draft is a policy that can be enforced, wherever it is attached.
type draft struct {
	policy snapshot.Policy
	// http and thrift: some of its matches are about these; everything: some of what it
	// does has no match.
	http, thrift, everything bool
	// headers are the paths of keys that are headers, by canonical name.
	headers map[string][]string
	// exempt are the paths of exemptions by a header, by canonical name.
	exempt map[string][]string
	// shadow is what only reports, sorted; byAddress is what tells clients apart by
	// their address.
	shadow, byAddress []string
	warnings          []string
	// keyless are providers whose keys are not known.
	keyless []string
	// shared: it needs a store.
	shared bool
	// by is what the policy does by a header, and otherwise what can be done in the
	// place of naming a store, in words.
	by, otherwise string
	failure       v1alpha1.FailurePolicy
	encryption    *v1alpha1.SecretRef
}

func newDraft(p snapshot.Policy) *draft {
	return &draft{policy: p, headers: map[string][]string{}, exempt: map[string][]string{}}
}

// subject is a policy of a kind that is enforced.
type subject struct {
	id          attach.PolicyID
	meta        *metav1.ObjectMeta
	refs        []v1alpha1.TargetRef
	store       v1alpha1.StoreRef
	unsupported []string
	build       func() (*draft, []string)
}

// subjects are the policies of all kinds that are enforced.
func subjects(in *Input) []subject {
	var out []subject
	for i := range in.IdempotencyPolicies {
		p := &in.IdempotencyPolicies[i]
		out = append(out, subject{
			id: attach.PolicyID{Kind: v1alpha1.KindIdempotencyPolicy, Name: p.Name}, meta: &p.ObjectMeta, refs: p.Spec.TargetRefs,
			store: p.Spec.StoreRef, unsupported: unsupportedIdempotency(&p.Spec),
			build: func() (*draft, []string) { return buildIdempotency(in, p) },
		})
	}
	for i := range in.RateLimitPolicies {
		p := &in.RateLimitPolicies[i]
		out = append(out, subject{
			id: attach.PolicyID{Kind: v1alpha1.KindRateLimitPolicy, Name: p.Name}, meta: &p.ObjectMeta, refs: p.Spec.TargetRefs,
			store: p.Spec.StoreRef, unsupported: unsupported(&p.Spec),
			build: func() (*draft, []string) { return buildLimits(in, p) },
		})
	}
	return out
}

// check makes a draft, or says why there is none.
func check(in *Input, s *subject) (*draft, problem) {
	if paths := s.unsupported; len(paths) > 0 {
		return nil, problem{v1alpha1.ReasonUnsupported, fmt.Sprintf(
			"This version of Weir does not support %s: remove %s. Until then nothing of the policy is enforced.",
			enumerate(paths), itOrThem(paths))}
	}
	d, errs := s.build()
	if len(errs) > 0 {
		return nil, problem{v1alpha1.ReasonInvalid, strings.Join(errs, " ")}
	}
	if why := chooseStore(in, string(s.store.Name), d); why.reason != "" {
		return nil, why
	}
	return d, chooseKey(in, d)
}

// chooseStore sets the policy's store when it needs one.
func chooseStore(in *Input, name string, d *draft) problem {
	if !d.shared {
		return problem{}
	}
	if name == "" {
		name = "default"
	}
	s, ok := in.Config.Store(name)
	if !ok {
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"spec.storeRef.name: The operator's configuration has no store %q; it has %s. Name one of them%s.",
			name, storeNames(in), d.otherwise)}
	}
	if !s.AllowedNamespaces.Permits(in.Namespace, in.NamespaceLabels) {
		return problem{v1alpha1.ReasonRefNotPermitted, fmt.Sprintf(
			"spec.storeRef.name: The operator's configuration does not let namespace %s use store %q (allowedNamespaces): "+
				"name another store%s.", in.Namespace, name, d.otherwise)}
	}
	if secret := s.Secret(in.Namespace); secret != "" && in.Credentials[name] == "" {
		d.warnings = append(d.warnings, fmt.Sprintf("Warning: The Secret %s with the credentials of store %q is not in the operator's namespace, or not labelled "+
			"weir.dev/use: \"true\"; until it is, failurePolicy %s holds.", secret, name, d.failure))
	}
	switch p := d.policy.(type) {
	case *snapshot.RateLimitPolicy:
		p.Store = name
	case *snapshot.IdempotencyPolicy:
		p.Store = name
		if in.SharedStores[name] {
			d.warnings = append(d.warnings, fmt.Sprintf("Warning: Other namespaces use store %q with the same credentials: who has theirs can remove and read "+
				"what is recorded here. Give the namespaces credentials of their own (namespaceCredentials), or set encryption against reading.", name))
		}
	}
	return problem{}
}

// storeNames are those a policy of the namespace may use: others are not its
// business.
func storeNames(in *Input) string {
	var names []string
	for i := range in.Config.Stores {
		if s := &in.Config.Stores[i]; s.AllowedNamespaces.Permits(in.Namespace, in.NamespaceLabels) {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return "none for this namespace"
	}
	slices.Sort(names)
	return enumerate(names)
}

// credentialsAbsent stands for the version of a Secret that is not there: the
// sidecar waits for credentials and does not try without.
const credentialsAbsent = "absent"

func compileStore(in *Input, s *config.Store) *snapshot.Store {
	out := &snapshot.Store{Name: s.Name}
	if s.Secret(in.Namespace) != "" {
		out.CredentialsVersion = credentialsAbsent
		if v := in.Credentials[s.Name]; v != "" {
			out.CredentialsVersion = v
		}
	}
	if s.Redis == nil {
		return out
	}
	out.Redis = &snapshot.Redis{
		Mode: map[config.RedisMode]snapshot.Redis_Mode{
			config.RedisStandalone: snapshot.Redis_MODE_STANDALONE,
			config.RedisSentinel:   snapshot.Redis_MODE_SENTINEL,
			config.RedisCluster:    snapshot.Redis_MODE_CLUSTER,
		}[s.Redis.Mode],
		Addresses:  s.Redis.Addresses,
		MasterName: s.Redis.MasterName,
		KeyPrefix:  s.KeyPrefix,
	}
	if t := s.Redis.TLS; t.Enabled {
		out.Redis.Tls = &snapshot.TLS{ServerName: t.ServerName, CaPem: t.CA}
	}
	return out
}

func enumerate(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func itOrThem(words []string) string {
	if len(words) == 1 {
		return "it"
	}
	return "them"
}
