// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"weir.dev/weir/api/podspec"
)

// Setup adds issuer and the two publishers to a manager. The issuer runs on every
// replica, the publishers on the leader. The manager's cache should hold only the
// ConfigMaps named podspec.ConfigMapCA and only the configuration of that name.
func Setup(mgr ctrl.Manager, issuer *Issuer, trust *Trust, webhook *Webhook) error {
	if err := mgr.Add(issuer); err != nil {
		return fmt.Errorf("add the certificate issuer: %w", err)
	}
	// Several managers in one process are several replicas in a test.
	options := controller.Options{EnableWarmup: new(true), SkipNameValidation: new(true)}
	err := ctrl.NewControllerManagedBy(mgr).Named("pki-webhook").WithOptions(options).
		For(&admissionv1.MutatingWebhookConfiguration{}).
		WatchesRawSource(onChange(issuer, func(context.Context) ([]string, error) { return []string{webhook.Name}, nil })).
		Complete(webhook)
	if err != nil {
		return fmt.Errorf("add the caBundle controller: %w", err)
	}
	err = ctrl.NewControllerManagedBy(mgr).Named("pki-trust").WithOptions(options).
		For(&corev1.Namespace{}, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(namespaceOf), builder.WithPredicates(named(podspec.ConfigMapCA))).
		WatchesRawSource(onChange(issuer, func(ctx context.Context) ([]string, error) { return allNamespaces(ctx, trust.Reader) })).
		Complete(trust)
	if err != nil {
		return fmt.Errorf("add the trust bundle controller: %w", err)
	}
	return nil
}

// onChange enqueues names whenever the bundle is another one.
func onChange(issuer *Issuer, list func(context.Context) ([]string, error)) source.Source {
	return source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		changed := issuer.Changed()
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-changed:
				}
				names, err := list(ctx)
				if err != nil {
					ctrl.LoggerFrom(ctx).Error(err, "not all trust bundles are brought up to date")
				}
				for _, name := range names {
					queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
				}
			}
		}()
		return nil
	})
}

func allNamespaces(ctx context.Context, reader client.Reader) ([]string, error) {
	var list corev1.NamespaceList
	if err := reader.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}

func namespaceOf(_ context.Context, obj client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: obj.GetNamespace()}}}
}

func named(name string) predicate.Predicate {
	return predicate.NewPredicateFuncs(func(obj client.Object) bool { return obj.GetName() == name })
}
