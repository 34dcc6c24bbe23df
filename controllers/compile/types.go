// SPDX-License-Identifier: Apache-2.0

package compile

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/config"
)

// Input is one namespace and what holds for all.
type Input struct {
	// Cluster is the id that begins Redis keys.
	Cluster   string
	Namespace string
	// NamespaceLabels choose stores.
	NamespaceLabels map[string]string
	// Config has its defaults and is valid. A store without Redis is the memory of
	// the one process that serves, see `weir run`.
	Config config.Config

	Services            []corev1.Service
	Pods                []corev1.Pod
	RateLimitPolicies   []v1alpha1.RateLimitPolicy
	IdempotencyPolicies []v1alpha1.IdempotencyPolicy
	CallbackRoutes      []v1alpha1.CallbackRoute

	// JWTKeys are the keys of the configuration's providers, by name, in the order of
	// snapshots. One whose keys are not known yet has no entry.
	JWTKeys map[string][]*snapshot.JWTKey

	// Transcodings are the mappings of the IDLs that Services name. One that never was
	// valid has no entry.
	Transcodings map[attach.IDL]*snapshot.Transcoding

	// NamespaceKey is the version of the namespace's key.
	NamespaceKey string
	// Secrets of the namespace that policies name, by name; one that is not there has no
	// entry.
	Secrets map[string]Secret
	// SharedStores are those that other namespaces use with the same credentials.
	SharedStores map[string]bool

	// Credentials are the versions of the stores' Secrets for this namespace, by
	// store. A store whose Secret is not there has no entry.
	Credentials map[string]string
}

// Secret is what is known of one; its values are not here.
type Secret struct {
	// Denied: the operator may not read it. Labelled: weir.dev/use is "true"; others are
	// not read.
	Denied, Labelled bool
	// Version changes with its content.
	Version string
	// Bytes are the lengths of its members, by name.
	Bytes map[string]int
}

// Output is what follows.
type Output struct {
	// Workloads by key. Those without ports are among them: their pods wait for a
	// snapshot.
	Workloads []Workload
	// Unselected are the pods that no Service selects.
	Unselected []attach.Pod
	// Verdicts by kind and name.
	Verdicts []Verdict
}

// Workload is pods that get one snapshot.
type Workload struct {
	Key      string
	Services []string
	Pods     []attach.Pod
	Snapshot *snapshot.Snapshot
	// Peers are the pods that share each policy of the snapshot.
	Peers *stream.Peers
}

// Verdict is whether a policy was accepted, and where.
type Verdict struct {
	Policy     attach.PolicyID
	UID        types.UID
	Generation int64
	// Reason and Message of the condition Accepted.
	Reason  v1alpha1.ConditionReason
	Message string
	// Targets by name and section.
	Targets []attach.Target
	// Shadow are the names of limits that only report, or what an IdempotencyPolicy
	// that only reports counts, sorted.
	Shadow []string
	// ByAddress are the names of limits that count by the client's address, sorted, or
	// scope, where an IdempotencyPolicy has it there.
	ByAddress []string
	// Store is the one it uses; empty: none.
	Store string
}

// Accepted is the status of the condition.
func (v *Verdict) Accepted() bool { return accepted(v.Reason) }

func accepted(r v1alpha1.ConditionReason) bool {
	return r == v1alpha1.ReasonAccepted || r == v1alpha1.ReasonPartiallyAccepted
}
