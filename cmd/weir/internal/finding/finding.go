// SPDX-License-Identifier: Apache-2.0

// Package finding is what `weir check` can find: each with a code that stays the
// same over versions, how bad it is, and what to do. In: nothing. Out: values;
// docs/checks.md lists the same codes.
package finding

import "fmt"

// Level is how bad it is.
type Level string

const (
	// Error: something that is asked for does not work.
	Error Level = "error"
	// Warning: it works, but perhaps not as meant.
	Warning Level = "warning"
	// Info: good to know.
	Info Level = "info"
)

// Code names a kind of finding for ever.
type Code string

// The codes. 00 is the cluster, 01 the installation, 02 pods, 03 policies, 04
// configuration.
const (
	OldKubernetes      Code = "WEIR0001"
	NoCRD              Code = "WEIR0101"
	OperatorNotReady   Code = "WEIR0102"
	NoLeader           Code = "WEIR0103"
	NoWebhook          Code = "WEIR0104"
	NoWebhookCA        Code = "WEIR0105"
	OperatorUnreached  Code = "WEIR0106"
	NotAllowed         Code = "WEIR0107"
	MissingSidecar     Code = "WEIR0201"
	OtherVersion       Code = "WEIR0202"
	PodDisconnected    Code = "WEIR0203"
	PodRefused         Code = "WEIR0204"
	NotAccepted        Code = "WEIR0301"
	NotProgrammed      Code = "WEIR0302"
	PartlyProgrammed   Code = "WEIR0303"
	AcceptedButWarned  Code = "WEIR0304"
	MalformedPolicy    Code = "WEIR0305"
	NothingToCheck     Code = "WEIR0306"
	NamespacesTrust    Code = "WEIR0401"
	DevBackendsEnabled Code = "WEIR0402"
)

// Info of a code that does not change from finding to finding.
type about struct {
	level  Level
	remedy string
}

func known(c Code) about {
	switch c {
	case OldKubernetes:
		return about{Error, "Upgrade the cluster: Weir needs native sidecars, which are stable from Kubernetes 1.33 on."}
	case NoCRD:
		return about{Error, "Install Weir with `helm install weir charts/weir -n weir-system --create-namespace`, or leave crds.enabled true."}
	case OperatorNotReady:
		return about{Error, "Look at `kubectl describe pods` in the operator's namespace (--weir-namespace, if it is not weir-system) and at the operator's log. Sidecars go on enforcing what they have; new pods wait for their first policies."}
	case NoLeader:
		return about{Error, "Status is not written while no replica leads. Look at the operator's log for why none can take the lease."}
	case NoWebhook:
		return about{Error, "No pod gets a sidecar. Run `helm upgrade` to put the MutatingWebhookConfiguration back."}
	case NoWebhookCA:
		return about{Error, "The operator writes the CA bundle when it starts. Look at its log for why it can't."}
	case OperatorUnreached:
		return about{Warning, "You need the rights to get the Lease weir-operator and to create pods/portforward in the operator's namespace to see what each pod has acked."}
	case NotAllowed:
		return about{Info, "Ask somebody who may read it to run `kubectl weir check`, or for that right."}
	case MissingSidecar:
		return about{Error, "The pod is older than its label: restart it with `kubectl rollout restart`."}
	case OtherVersion:
		return about{Warning, "Restart the workload when it suits you, so that its pods get the operator's sidecar."}
	case PodDisconnected:
		return about{Warning, "It enforces the last policies it had. Look at the log of its container weir-sidecar."}
	case PodRefused:
		return about{Error, "It enforces the policies before. Mend the policy that it names."}
	case NotAccepted:
		return about{Error, "Mend what the message names."}
	case NotProgrammed:
		return about{Error, "Do what the message says; `weir status` shows each pod."}
	case PartlyProgrammed:
		return about{Warning, "Look at `weir status` for the pods that lag."}
	case AcceptedButWarned:
		return about{Warning, "Read the message and decide whether it is meant so."}
	case MalformedPolicy:
		return about{Error, "The API server would refuse it: correct what the message names."}
	case NothingToCheck:
		return about{Warning, "Did you mean another file? Policies are RateLimitPolicy, IdempotencyPolicy and CallbackRoute of weir.dev/v1alpha1."}
	case NamespacesTrust:
		return about{Info, "Give each namespace credentials of its own (namespaceCredentials) if they must not trust each other."}
	case DevBackendsEnabled:
		return about{Warning, "Counters are in one pod's memory and are lost with it: name a Redis in `stores` before this is used in earnest."}
	}
	return about{Error, ""}
}

// Finding is one thing that was found.
type Finding struct {
	Code    Code   `json:"code"`
	Level   Level  `json:"level"`
	Subject string `json:"subject"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

// New makes a finding about a subject, such as rlp/shop/payments.
func New(c Code, subject, format string, args ...any) Finding {
	a := known(c)
	return Finding{Code: c, Level: a.level, Subject: subject, Message: fmt.Sprintf(format, args...), Remedy: a.remedy}
}

// Worst reports whether any finding is an Error.
func Worst(all []Finding) bool {
	for _, f := range all {
		if f.Level == Error {
			return true
		}
	}
	return false
}
