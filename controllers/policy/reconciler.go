// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/keys"
	"weir.dev/weir/controllers/status"
)

// Statuses is what the reconciler tells of policies: a status.Writer.
type Statuses interface {
	// Set also takes when the first of the changes arrived that led to the verdicts.
	Set(namespace string, verdicts []compile.Verdict, arrived time.Time)
	Seen(id status.ID, uid types.UID, generation int64)
}

// Rollout forgets pods: a rollout.Tracker.
type Rollout interface {
	Forget(namespace, uid string)
}

// JWTKeys are those of the configuration's providers: a jwks.Keeper.
type JWTKeys interface {
	Keys() map[string][]*snapshot.JWTKey
	// Changed has a value when keys have changed since it was read.
	Changed() <-chan struct{}
	// Tried is closed when every provider has been asked once.
	Tried() <-chan struct{}
}

// NamespaceKeys are derived from the root key: a keys.Root.
type NamespaceKeys interface {
	Namespace(cluster, namespace string) *stream.NamespaceKey
	// Changed has a value when all of them are others than they were.
	Changed() <-chan struct{}
}

// UserSecrets are those that policies name: a keys.Secrets.
type UserSecrets interface {
	Get(ctx context.Context, namespace, name string) (keys.Secret, error)
	Keep(namespace string, names []string)
	// Changed has a value when Take has namespaces to give.
	Changed() <-chan struct{}
	Take() []string
}

// Options of a Reconciler. All but Metrics and JWT are needed.
type Options struct {
	// Reader is the manager's cache, kept as ByObject says.
	Reader client.Reader
	Config config.Config
	// Cluster is the id that begins Redis keys.
	Cluster string
	// OperatorNamespace has the Secrets of the configuration.
	OperatorNamespace string
	Hub               *hub.Hub
	Rollout           Rollout
	Status            Statuses
	Keys              NamespaceKeys
	Secrets           UserSecrets
	Mappings          Mappings
	// Events are given on Services, by the replica that leads.
	Events events.EventRecorder
	// JWT is a jwks.Keeper; nil where the configuration has no provider.
	JWT     JWTKeys
	Metrics *Metrics
	Log     *slog.Logger
}

// Reconciler works on namespaces.
type Reconciler struct {
	Options

	debounce *debouncer
	synced   atomic.Bool

	mu        sync.Mutex
	published map[string]published
	// busy are the namespaces that have policies.
	busy map[string]bool
	// uses are the stores that a namespace shares with all that have no credentials of
	// their own.
	uses map[string]map[string]bool
	// told are the Events of a namespace that were given.
	told map[string]map[told]string
	// untold are the namespaces that have some, which another replica gives, and elected
	// is closed once this one leads.
	untold  map[string]bool
	elected <-chan struct{}
	// queue is there once the controller has started.
	queue queue
}

// New returns a Reconciler.
func New(opts Options) *Reconciler {
	return &Reconciler{Options: opts, debounce: newDebouncer(), published: map[string]published{}, busy: map[string]bool{}, uses: map[string]map[string]bool{}, told: map[string]map[told]string{}, untold: map[string]bool{}}
}

// Synced reports whether every namespace has been published once: before that the
// hub does not know all there is.
func (r *Reconciler) Synced() bool { return r.synced.Load() }

// Reconcile works on the namespace that is the request's name.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	return reconcile.Result{}, r.sync(ctx, req.Name)
}

func (r *Reconciler) sync(ctx context.Context, ns string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	arrived := r.debounce.taken(ns, time.Now())
	in, own, err := r.read(ctx, ns)
	if err != nil {
		return err
	}
	policies := len(in.RateLimitPolicies) + len(in.IdempotencyPolicies) + len(in.CallbackRoutes)
	var out compile.Output
	if policies > 0 || anyInjected(in.Pods) {
		compiling := time.Now()
		out = compile.Compile(in)
		r.Metrics.compiled(time.Since(compiling))
	}
	r.publish(ns, out, own)
	r.Status.Set(ns, out.Verdicts, arrived)
	r.share(ns, r.sharedBy(in.RateLimitPolicies, in.IdempotencyPolicies))
	delete(r.busy, ns)
	if policies > 0 {
		r.busy[ns] = true
	}
	r.Log.Debug("published", "namespace", ns, "workloads", len(out.Workloads), "policies", policies)
	return nil
}

func anyInjected(pods []corev1.Pod) bool {
	for i := range pods {
		if Injected(&pods[i]) {
			return true
		}
	}
	return false
}

// read collects a namespace from the cache.
func (r *Reconciler) read(ctx context.Context, ns string) (compile.Input, secrets, error) {
	in := compile.Input{Cluster: r.Cluster, Namespace: ns, Config: r.Config}
	if r.JWT != nil {
		in.JWTKeys = r.JWT.Keys()
	}
	var (
		limits      v1alpha1.RateLimitPolicyList
		idempotency v1alpha1.IdempotencyPolicyList
		routes      v1alpha1.CallbackRouteList
		services    corev1.ServiceList
		pods        corev1.PodList
	)
	for _, list := range []client.ObjectList{&limits, &idempotency, &routes, &services, &pods} {
		// Nothing that is read here is changed, so that nothing has to be copied.
		if err := r.Reader.List(ctx, list, client.InNamespace(ns), client.UnsafeDisableDeepCopy); err != nil {
			return in, secrets{}, fmt.Errorf("list %T of %s: %w", list, ns, err)
		}
	}
	in.RateLimitPolicies, in.IdempotencyPolicies, in.CallbackRoutes = alive(limits.Items), alive(idempotency.Items), alive(routes.Items)
	in.Services, in.Pods = services.Items, pods.Items
	if r.selectsNamespaces() {
		var n corev1.Namespace
		if err := r.Reader.Get(ctx, client.ObjectKey{Name: ns}, &n); client.IgnoreNotFound(err) != nil {
			return in, secrets{}, fmt.Errorf("namespace %s: %w", ns, err)
		}
		in.NamespaceLabels = n.Labels
	}
	if err := r.readMappings(ctx, &in); err != nil {
		return in, secrets{}, err
	}
	own, err := r.readSecrets(ctx, &in)
	if err != nil {
		return in, secrets{}, err
	}
	if len(in.IdempotencyPolicies) > 0 {
		if in.SharedStores, err = r.sharedStores(ctx, ns); err != nil {
			return in, secrets{}, err
		}
	}
	return in, own, nil
}

// alive leaves out what is being deleted: others may have put finalizers on it.
func alive[T any, P interface {
	*T
	client.Object
}](items []T) []T {
	out := make([]T, 0, len(items))
	for i := range items {
		if P(&items[i]).GetDeletionTimestamp() == nil {
			out = append(out, items[i])
		}
	}
	return out
}

func (r *Reconciler) selectsNamespaces() bool {
	for i := range r.Config.Stores {
		if r.Config.Stores[i].AllowedNamespaces.From == config.FromSelector {
			return true
		}
	}
	return false
}

// idOf names a policy.
func idOf(o client.Object) status.ID {
	kind := ""
	switch o.(type) {
	case *v1alpha1.RateLimitPolicy:
		kind = v1alpha1.KindRateLimitPolicy
	case *v1alpha1.IdempotencyPolicy:
		kind = v1alpha1.KindIdempotencyPolicy
	case *v1alpha1.CallbackRoute:
		kind = v1alpha1.KindCallbackRoute
	}
	return status.ID{Namespace: o.GetNamespace(), PolicyID: attach.PolicyID{Kind: kind, Name: o.GetName()}}
}
