// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiextv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/finding"
)

const (
	// operatorName is the Deployment, Service and Lease.
	operatorName = "weir-operator"
	webhookName  = "weir-injector"
)

// oldest is the first Kubernetes with stable native sidecars.
var oldest = version.MustParseGeneric("1.33.0")

// CheckInstallation looks at the cluster and at what the chart installs.
func (c *Cluster) CheckInstallation(ctx context.Context) ([]finding.Finding, error) {
	var all []finding.Finding
	dc, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	v, err := dc.ServerVersion()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", c.config.Host, err)
	}
	if have, err := version.ParseGeneric(v.GitVersion); err == nil && have.LessThan(oldest) {
		all = append(all, finding.New(finding.OldKubernetes, "cluster", "The API server is %s.", v.GitVersion))
	}
	for _, check := range []func(context.Context) ([]finding.Finding, error){c.checkCRDs, c.checkOperator, c.checkWebhook} {
		found, err := check(ctx)
		if apierrors.IsForbidden(err) {
			found, err = []finding.Finding{notAllowed("installation", err)}, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// notAllowed is what a part of the check has become for those who may not look:
// the rest goes on.
func notAllowed(subject string, err error) finding.Finding {
	return finding.New(finding.NotAllowed, subject, "This was not checked: %v.", err)
}

func (c *Cluster) checkCRDs(ctx context.Context) ([]finding.Finding, error) {
	var all []finding.Finding
	for _, plural := range []string{"ratelimitpolicies", "idempotencypolicies", "callbackroutes"} {
		name := plural + "." + v1alpha1.GroupName
		var crd apiextv1.CustomResourceDefinition
		err := c.Get(ctx, client.ObjectKey{Name: name}, &crd)
		switch {
		case apierrors.IsNotFound(err):
			all = append(all, finding.New(finding.NoCRD, "crd/"+name, "The CustomResourceDefinition is not there."))
		case err != nil:
			return nil, err
		default:
			established := false
			for _, cond := range crd.Status.Conditions {
				established = established || cond.Type == apiextv1.Established && cond.Status == apiextv1.ConditionTrue
			}
			if !established {
				all = append(all, finding.New(finding.NoCRD, "crd/"+name, "The CustomResourceDefinition is not established."))
			}
		}
	}
	return all, nil
}

func (c *Cluster) checkOperator(ctx context.Context) ([]finding.Finding, error) {
	subject := "deployment/" + c.System + "/" + operatorName
	var d appsv1.Deployment
	err := c.Get(ctx, client.ObjectKey{Namespace: c.System, Name: operatorName}, &d)
	if apierrors.IsNotFound(err) {
		return []finding.Finding{finding.New(finding.OperatorNotReady, subject, "There is no operator in namespace %s.", c.System)}, nil
	}
	if err != nil {
		return nil, err
	}
	var all []finding.Finding
	if want := *d.Spec.Replicas; d.Status.ReadyReplicas < want {
		all = append(all, finding.New(finding.OperatorNotReady, subject, "%d of %d replicas are ready.", d.Status.ReadyReplicas, want))
	}
	var l coordinationv1.Lease
	err = c.Get(ctx, client.ObjectKey{Namespace: c.System, Name: LeaseName}, &l)
	if client.IgnoreNotFound(err) != nil {
		return nil, err
	}
	stale := err != nil || l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" || l.Spec.RenewTime == nil ||
		time.Since(l.Spec.RenewTime.Time) > time.Minute
	if stale {
		all = append(all, finding.New(finding.NoLeader, "lease/"+c.System+"/"+LeaseName, "No replica of the operator holds the lease."))
	}
	return all, nil
}

// OperatorVersion is the image that the operator is meant to run, and how much of
// it runs.
func (c *Cluster) OperatorVersion(ctx context.Context) (string, error) {
	var d appsv1.Deployment
	if err := c.Get(ctx, client.ObjectKey{Namespace: c.System, Name: operatorName}, &d); err != nil {
		return "", err
	}
	image := ""
	if containers := d.Spec.Template.Spec.Containers; len(containers) > 0 {
		image = containers[0].Image
	}
	return fmt.Sprintf("%s (%d of %d replicas ready in %s)", image, d.Status.ReadyReplicas, *d.Spec.Replicas, c.System), nil
}

func (c *Cluster) checkWebhook(ctx context.Context) ([]finding.Finding, error) {
	var w admissionv1.MutatingWebhookConfiguration
	err := c.Get(ctx, client.ObjectKey{Name: webhookName}, &w)
	if apierrors.IsNotFound(err) {
		return []finding.Finding{finding.New(finding.NoWebhook, "mutatingwebhookconfiguration/"+webhookName, "The webhook configuration is not there.")}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, h := range w.Webhooks {
		if len(h.ClientConfig.CABundle) == 0 {
			return []finding.Finding{finding.New(finding.NoWebhookCA, "mutatingwebhookconfiguration/"+webhookName, "Webhook %s has no CA bundle: admission of labelled pods fails.", h.Name)}, nil
		}
	}
	return nil, nil
}

// CheckPods looks for labelled pods without sidecar and for sidecars that are
// old, away or refuse.
func (c *Cluster) CheckPods(ctx context.Context) ([]finding.Finding, error) {
	all, err := c.checkInjected(ctx)
	if apierrors.IsForbidden(err) {
		all, err = []finding.Finding{notAllowed("pods", err)}, nil
	}
	if err != nil {
		return nil, err
	}
	states, err := c.PodStates(ctx)
	if err != nil {
		return append(all, finding.New(finding.OperatorUnreached, "operator", "%s.", strings.TrimSuffix(err.Error(), "."))), nil
	}
	return append(all, checkStates(states)...), nil
}

// checkInjected looks for pods that ask for a sidecar and have none.
func (c *Cluster) checkInjected(ctx context.Context) ([]finding.Finding, error) {
	labelled, err := c.labelledNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, c.In()); err != nil {
		return nil, err
	}
	var all []finding.Finding
	for i := range pods.Items {
		p := &pods.Items[i]
		wants := p.Labels[podspec.LabelInject]
		if wants == "" && labelled[p.Namespace] {
			wants = podspec.InjectEnabled
		}
		done := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		if wants == podspec.InjectEnabled && p.Annotations[podspec.AnnotationInjected] == "" && !p.Spec.HostNetwork && !done {
			all = append(all, finding.New(finding.MissingSidecar, "pod/"+p.Namespace+"/"+p.Name, "The pod is labelled for injection and has no sidecar."))
		}
	}
	return all, nil
}

// labelledNamespaces reads no more namespaces than are asked about: who may see
// one need not be allowed to see all.
func (c *Cluster) labelledNamespaces(ctx context.Context) (map[string]bool, error) {
	var list corev1.NamespaceList
	if c.Namespace == "" {
		if err := c.List(ctx, &list); err != nil {
			return nil, err
		}
	} else {
		var n corev1.Namespace
		if err := c.Get(ctx, client.ObjectKey{Name: c.Namespace}, &n); client.IgnoreNotFound(err) != nil {
			return nil, err
		}
		list.Items = append(list.Items, n)
	}
	labelled := map[string]bool{}
	for _, n := range list.Items {
		labelled[n.Name] = n.Labels[podspec.LabelInject] == podspec.InjectEnabled
	}
	return labelled, nil
}

func checkStates(states []*stream.PodState) []finding.Finding {
	var all []finding.Finding
	for _, s := range states {
		subject := "pod/" + s.GetNamespace() + "/" + s.GetPod()
		if !s.GetConnected() {
			all = append(all, finding.New(finding.PodDisconnected, subject, "The sidecar has been away since %s.", s.GetSince().AsTime().Format(time.RFC3339)))
		}
		if n := s.GetNack(); n != nil {
			all = append(all, finding.New(finding.PodRefused, subject, "The sidecar refuses %s: %s", n.GetPolicy(), n.GetReason()))
		}
		if u := s.GetUnsupported(); len(u) > 0 {
			all = append(all, finding.New(finding.OtherVersion, subject, "The sidecar %s is too old for %s.", s.GetVersion(), strings.Join(u, ", ")))
		}
	}
	return all
}

// CheckPolicies reads what their status says.
func (c *Cluster) CheckPolicies(ctx context.Context) ([]finding.Finding, error) {
	rl, id, cb, err := c.Policies(ctx)
	if err != nil {
		return nil, err
	}
	var all []finding.Finding
	for i := range rl {
		all = append(all, checkStatus("rlp", &rl[i], rl[i].Status.PolicyStatus)...)
	}
	for i := range id {
		all = append(all, checkStatus("idp", &id[i], id[i].Status.PolicyStatus)...)
	}
	for i := range cb {
		all = append(all, checkStatus("cbr", &cb[i], cb[i].Status.PolicyStatus)...)
	}
	return all, nil
}

func checkStatus(kind string, o client.Object, s v1alpha1.PolicyStatus) []finding.Finding {
	subject := kind + "/" + o.GetNamespace() + "/" + o.GetName()
	accepted := meta.FindStatusCondition(s.Conditions, string(v1alpha1.ConditionAccepted))
	if accepted == nil || accepted.ObservedGeneration < o.GetGeneration() {
		return []finding.Finding{finding.New(finding.NotAccepted, subject, "The operator has not seen it yet.")}
	}
	if accepted.Status != "True" {
		return []finding.Finding{finding.New(finding.NotAccepted, subject, "%s: %s", accepted.Reason, accepted.Message)}
	}
	var all []finding.Finding
	if accepted.Reason == string(v1alpha1.ReasonPartiallyAccepted) {
		all = append(all, finding.New(finding.NotAccepted, subject, "%s: %s", accepted.Reason, accepted.Message))
	} else if strings.Contains(accepted.Message, "Warning:") {
		all = append(all, finding.New(finding.AcceptedButWarned, subject, "%s", accepted.Message))
	}
	programmed := meta.FindStatusCondition(s.Conditions, string(v1alpha1.ConditionProgrammed))
	switch {
	case programmed == nil || programmed.Status != "True" && programmed.Reason != string(v1alpha1.ReasonNoPods):
		reason, message := "Pending", "The operator has not looked at its pods yet."
		if programmed != nil {
			reason, message = programmed.Reason, programmed.Message
		}
		all = append(all, finding.New(finding.NotProgrammed, subject, "%s: %s", reason, message))
	case programmed.Reason == string(v1alpha1.ReasonPartiallyProgrammed):
		all = append(all, finding.New(finding.PartlyProgrammed, subject, "%s", programmed.Message))
	}
	return all
}
