// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"fmt"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/config"
)

// problem is why a policy is not accepted; without a reason there is none.
type problem struct {
	reason  v1alpha1.ConditionReason
	message string
}

// draft is a policy that can be enforced, wherever it is attached.
type draft struct {
	policy *snapshot.RateLimitPolicy
	// matches is what its matches are about.
	matches snapshot.Protocol
	// headers are the paths of keys that are headers, by canonical name.
	headers map[string][]string
	// exempt are the paths of exemptions by a header, by canonical name.
	exempt  map[string][]string
	shadow  []string
	warning string
	// keyless are providers whose keys are not known.
	keyless []string
}

// check makes a draft, or says why there is none.
func check(in *Input, p *v1alpha1.RateLimitPolicy) (*draft, problem) {
	if paths := unsupported(&p.Spec); len(paths) > 0 {
		return nil, problem{v1alpha1.ReasonUnsupported, fmt.Sprintf(
			"This version of Weir does not support %s: remove %s. Until then nothing of the policy is enforced.",
			enumerate(paths), itOrThem(paths))}
	}
	d, errs := build(in, p)
	if len(errs) > 0 {
		return nil, problem{v1alpha1.ReasonInvalid, strings.Join(errs, " ")}
	}
	if why := chooseStore(in, p, d); why.reason != "" {
		return nil, why
	}
	return d, problem{}
}

// chooseStore sets the policy's store when a limit counts in one.
func chooseStore(in *Input, p *v1alpha1.RateLimitPolicy, d *draft) problem {
	shared := false
	for _, l := range d.policy.GetLimits() {
		shared = shared || l.GetScope() == snapshot.Scope_SCOPE_CLUSTER
	}
	if !shared {
		return problem{}
	}
	name := string(p.Spec.StoreRef.Name)
	if name == "" {
		name = "default"
	}
	s, ok := in.Config.Store(name)
	if !ok {
		return problem{v1alpha1.ReasonInvalid, fmt.Sprintf(
			"spec.storeRef.name: The operator's configuration has no store %q; it has %s. Name one of them, or set scope to Pod.",
			name, storeNames(in))}
	}
	if !s.AllowedNamespaces.Permits(in.Namespace, in.NamespaceLabels) {
		return problem{v1alpha1.ReasonRefNotPermitted, fmt.Sprintf(
			"spec.storeRef.name: The operator's configuration does not let namespace %s use store %q (allowedNamespaces): "+
				"name another store, or set scope to Pod.", in.Namespace, name)}
	}
	if secret := s.Secret(in.Namespace); secret != "" && in.Credentials[name] == "" {
		d.warning = fmt.Sprintf("Warning: The Secret %s with the credentials of store %q is not in the operator's namespace, or not labelled "+
			"weir.dev/use: \"true\"; until it is, failurePolicy %s holds.", secret, name, failurePolicy(p))
	}
	d.policy.Store = name
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
