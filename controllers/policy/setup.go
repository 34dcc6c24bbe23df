// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"weir.dev/weir/api/v1alpha1"
)

// primeAgain is the wait after a failure.
const primeAgain = time.Second

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// SetupWithManager makes the manager run the reconciler, on every replica.
func (r *Reconciler) SetupWithManager(mgr manager.Manager) error {
	r.elected = mgr.Elected()
	c, err := controller.New("policy", mgr, controller.Options{
		Reconciler:         r,
		NeedLeaderElection: new(false),
		// Several managers in one process are several replicas in a test.
		SkipNameValidation: new(true),
	})
	if err != nil {
		return fmt.Errorf("policy controller: %w", err)
	}
	sources := []source.Source{
		watchPolicies(r, mgr, &v1alpha1.RateLimitPolicy{}, func(p *v1alpha1.RateLimitPolicy) bool { return len(p.Status.Conditions) > 0 }),
		watchPolicies(r, mgr, &v1alpha1.IdempotencyPolicy{}, func(p *v1alpha1.IdempotencyPolicy) bool { return len(p.Status.Conditions) > 0 }),
		watchPolicies(r, mgr, &v1alpha1.CallbackRoute{}, func(p *v1alpha1.CallbackRoute) bool { return len(p.Status.Conditions) > 0 }),
		watch(r, mgr, &corev1.Service{}, serviceChanged),
		watch(r, mgr, &corev1.Pod{}, podChanged),
		r.watchSecrets(mgr),
	}
	if r.selectsNamespaces() {
		sources = append(sources, r.watchNamespaces(mgr))
	}
	sources = append(sources, source.TypedFunc[reconcile.Request](r.watchKeys))
	for _, s := range sources {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("policy controller: %w", err)
		}
	}
	return mgr.Add(&prime{r})
}

func (r *Reconciler) enqueue(ns string, q queue) {
	r.debounce.touch(ns, func() { q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: ns}}) })
}

// watch enqueues the namespaces of objects that come, go, or change.
func watch[T client.Object](r *Reconciler, mgr manager.Manager, o T, changed func(a, b T) bool) source.Source {
	return source.TypedKind(mgr.GetCache(), o, handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) { r.enqueue(e.Object.GetNamespace(), q) },
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			if changed(e.ObjectOld, e.ObjectNew) {
				r.enqueue(e.ObjectNew.GetNamespace(), q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { r.enqueue(e.Object.GetNamespace(), q) },
	})
}

// watchPolicies also tells the status writer of policies it has not seen.
func watchPolicies[T client.Object](r *Reconciler, mgr manager.Manager, o T, hasStatus func(T) bool) source.Source {
	return source.TypedKind(mgr.GetCache(), o, handler.TypedFuncs[T, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[T], q queue) {
			if !hasStatus(e.Object) {
				r.Status.Seen(idOf(e.Object), e.Object.GetUID(), e.Object.GetGeneration())
			}
			r.enqueue(e.Object.GetNamespace(), q)
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[T], q queue) {
			a, b := e.ObjectOld, e.ObjectNew
			if a.GetGeneration() != b.GetGeneration() || a.GetUID() != b.GetUID() || !a.GetDeletionTimestamp().Equal(b.GetDeletionTimestamp()) {
				r.enqueue(b.GetNamespace(), q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.TypedDeleteEvent[T], q queue) { r.enqueue(e.Object.GetNamespace(), q) },
	})
}

func serviceChanged(a, b *corev1.Service) bool {
	return !equality.Semantic.DeepEqual(a.Spec, b.Spec) || !equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}

func podChanged(a, b *corev1.Pod) bool {
	x, y := trim(a), trim(b)
	x.ResourceVersion, y.ResourceVersion = "", ""
	return !equality.Semantic.DeepEqual(x, y)
}

// watchSecrets enqueues every namespace with policies: Secrets change rarely.
func (r *Reconciler) watchSecrets(mgr manager.Manager) source.Source {
	all := func(_ context.Context, o *corev1.Secret) []reconcile.Request {
		if o.Namespace != r.OperatorNamespace || !r.names(o.Name) {
			return nil
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		var out []reconcile.Request
		for ns := range r.busy {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: ns}})
		}
		return out
	}
	return source.TypedKind(mgr.GetCache(), &corev1.Secret{}, handler.TypedEnqueueRequestsFromMapFunc(all))
}

// watchKeys enqueues the namespaces whose keys have changed: every one with policies
// where they are all namespaces'.
func (r *Reconciler) watchKeys(ctx context.Context, q queue) error {
	r.mu.Lock()
	r.queue = q
	r.mu.Unlock()
	var tokens <-chan struct{} // without providers nothing comes
	if r.JWT != nil {
		tokens = r.JWT.Changed()
	}
	all := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for ns := range r.busy {
			r.enqueue(ns, q)
		}
	}
	go func() {
		elected := r.elected
		for {
			select {
			case <-ctx.Done():
				return
			case <-elected:
				elected = nil
				r.mu.Lock()
				for ns := range r.untold {
					r.enqueue(ns, q)
				}
				r.mu.Unlock()
			case <-tokens:
				all()
			case <-r.Keys.Changed():
				all()
			case <-r.Mappings.Changed():
				for _, ns := range r.Mappings.Take() {
					r.enqueue(ns, q)
				}
			case <-r.Secrets.Changed():
				for _, ns := range r.Secrets.Take() {
					r.enqueue(ns, q)
				}
			}
		}
	}()
	return nil
}

// names reports whether the configuration names a Secret.
func (r *Reconciler) names(secret string) bool {
	for i := range r.Config.Stores {
		s := &r.Config.Stores[i]
		if s.Redis != nil && s.Redis.Credentials.Secret == secret {
			return true
		}
		for _, own := range s.NamespaceCredentials {
			if own == secret {
				return true
			}
		}
	}
	return false
}

func (r *Reconciler) watchNamespaces(mgr manager.Manager) source.Source {
	return source.TypedKind(mgr.GetCache(), &corev1.Namespace{}, handler.TypedFuncs[*corev1.Namespace, reconcile.Request]{
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*corev1.Namespace], q queue) {
			if !equality.Semantic.DeepEqual(e.ObjectOld.Labels, e.ObjectNew.Labels) {
				r.enqueue(e.ObjectNew.Name, q)
			}
		},
	})
}

// prime publishes every namespace once, so that Synced can be told.
type prime struct{ r *Reconciler }

// NeedLeaderElection is false: every replica serves streams.
func (*prime) NeedLeaderElection() bool { return false }

// Start returns when everything has been published.
func (p *prime) Start(ctx context.Context) error {
	if p.r.JWT != nil {
		// Snapshots with keys at once are one change for sidecars, not two.
		select {
		case <-p.r.JWT.Tried():
		case <-ctx.Done():
			return nil
		}
	}
	namespaces := map[string]bool{}
	for _, list := range []client.ObjectList{
		&v1alpha1.RateLimitPolicyList{}, &v1alpha1.IdempotencyPolicyList{}, &v1alpha1.CallbackRouteList{}, &corev1.PodList{},
	} {
		if err := p.r.Reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("list %T: %w", list, err)
		}
		switch l := list.(type) {
		case *v1alpha1.RateLimitPolicyList:
			collect(namespaces, l.Items)
		case *v1alpha1.IdempotencyPolicyList:
			collect(namespaces, l.Items)
		case *v1alpha1.CallbackRouteList:
			collect(namespaces, l.Items)
		case *corev1.PodList:
			collect(namespaces, l.Items)
		}
	}
	for ns := range namespaces {
		if !p.sync(ctx, ns) {
			return nil
		}
	}
	p.r.synced.Store(true)
	return nil
}

// sync tries until it has published a namespace: a Secret that the API server does not
// give out now must neither end the operator nor pass for one that is not there. It
// returns false when ctx has ended.
func (p *prime) sync(ctx context.Context, ns string) bool {
	for {
		err := p.r.sync(ctx, ns)
		if err == nil {
			return true
		}
		p.r.Log.Warn("a namespace cannot be published yet", "namespace", ns, "error", err, "again", primeAgain.String())
		select {
		case <-ctx.Done():
			return false
		case <-time.After(primeAgain):
		}
	}
}

func collect[T any, P interface {
	*T
	client.Object
}](namespaces map[string]bool, items []T) {
	for i := range items {
		namespaces[P(&items[i]).GetNamespace()] = true
	}
}
