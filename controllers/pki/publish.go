// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/podspec"
)

// Bundler gives the trust bundle; an Issuer is one.
type Bundler interface{ Bundle() []byte }

// Trust keeps the bundle in the ConfigMap podspec.ConfigMapCA of namespaces.
type Trust struct {
	Bundler Bundler
	// Reader may be a cache.
	Reader client.Reader
	Writer client.Writer
	// Own is a namespace that has the ConfigMap though it is not labelled: where the
	// rate limit services of gateways run. Empty: there is none.
	Own string
}

// Ensure makes the ConfigMap if it is not there, or renews one that lacks the CA
// that signs now: an earlier installation may have left it. Whether the rest of it
// is up to date is for Reconcile on the leader to say, so that two replicas never
// write against each other.
func (t *Trust) Ensure(ctx context.Context, namespace string) error {
	bundle := t.Bundler.Bundle()
	if bundle == nil {
		return ErrNotReady
	}
	cm := &corev1.ConfigMap{}
	err := t.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: podspec.ConfigMapCA}, cm)
	switch {
	case apierrors.IsNotFound(err):
		return t.create(ctx, namespace, bundle)
	case err != nil:
		return fmt.Errorf("read ConfigMap %s/%s: %w", namespace, podspec.ConfigMapCA, err)
	case strings.Contains(cm.Data[podspec.KeyCA], signing(bundle)):
		return nil
	default:
		return t.renew(ctx, cm, bundle)
	}
}

// signing is the first certificate of a bundle.
func signing(bundle []byte) string {
	_, rest := pem.Decode(bundle)
	return string(bundle[:len(bundle)-len(rest)])
}

func (t *Trust) create(ctx context.Context, namespace string, bundle []byte) error {
	err := t.Writer.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: podspec.ConfigMapCA, Labels: managed()},
		Data:       map[string]string{podspec.KeyCA: string(bundle)},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create ConfigMap %s/%s: %w", namespace, podspec.ConfigMapCA, err)
	}
	return nil
}

// Reconcile brings the ConfigMap of a namespace up to date if the namespace is
// labelled, is Own, or has one. It stays when the label goes: pods that run still read it.
func (t *Trust) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	bundle := t.Bundler.Bundle()
	if bundle == nil {
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	ns := &corev1.Namespace{}
	if err := t.Reader.Get(ctx, client.ObjectKey{Name: req.Name}, ns); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	cm := &corev1.ConfigMap{}
	err := t.Reader.Get(ctx, client.ObjectKey{Namespace: ns.Name, Name: podspec.ConfigMapCA}, cm)
	switch {
	case apierrors.IsNotFound(err):
		if ns.Labels[podspec.LabelInject] != podspec.InjectEnabled && ns.Name != t.Own {
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, t.create(ctx, ns.Name, bundle)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("read ConfigMap %s/%s: %w", ns.Name, podspec.ConfigMapCA, err)
	case cm.Data[podspec.KeyCA] == string(bundle):
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, t.renew(ctx, cm, bundle)
}

func (t *Trust) renew(ctx context.Context, cm *corev1.ConfigMap, bundle []byte) error {
	now := cm.DeepCopy()
	now.Data = map[string]string{podspec.KeyCA: string(bundle)}
	if err := t.Writer.Patch(ctx, now, client.MergeFrom(cm)); err != nil {
		return fmt.Errorf("patch ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	return nil
}

// Webhook keeps the bundle as caBundle of a MutatingWebhookConfiguration, also
// when somebody resets it. The chart never renders one, lest an upgrade did.
type Webhook struct {
	Bundler Bundler
	Reader  client.Reader
	Writer  client.Writer
	// Name of the configuration.
	Name string
}

// Reconcile patches what differs. Each webhook of the list is patched by its
// name, so that a change of another field meanwhile stays.
func (w *Webhook) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	if req.Name != w.Name {
		return ctrl.Result{}, nil
	}
	bundle := w.Bundler.Bundle()
	if bundle == nil {
		return ctrl.Result{RequeueAfter: time.Second}, nil
	}
	conf := &admissionv1.MutatingWebhookConfiguration{}
	if err := w.Reader.Get(ctx, client.ObjectKey{Name: w.Name}, conf); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	patch := client.StrategicMergeFrom(conf.DeepCopy())
	changed := false
	for i := range conf.Webhooks {
		if c := &conf.Webhooks[i].ClientConfig; !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	if !changed {
		return ctrl.Result{}, nil
	}
	if err := w.Writer.Patch(ctx, conf, patch); err != nil {
		return ctrl.Result{}, fmt.Errorf("patch MutatingWebhookConfiguration %s: %w", w.Name, err)
	}
	return ctrl.Result{}, nil
}
