// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/stream"
)

// SecretName is the Secret of the root key, in the operator's namespace.
const SecretName = "weir-keys"

// Members of the Secret. MemberPrevious may be absent.
const (
	MemberCurrent  = "current"
	MemberPrevious = "previous"
)

// rootBytes is how long a root key is made, and the least that is taken.
const rootBytes = stream.MinRootKey

// Options of a Root and of Secrets.
type Options struct {
	// Client must not cache.
	Client client.Client
	// Namespace of the operator; of a Root only.
	Namespace string
	// Every is how often the API server is asked.
	Every time.Duration
	Log   *slog.Logger
}

// Root keeps the root key. Safe for concurrent use.
type Root struct {
	opts    Options
	changed chan struct{}

	mu   sync.RWMutex
	pair pair
}

// pair is the Secret's members. It prints nothing of them.
type pair struct{ current, previous []byte }

// String is for logs that should not have it.
func (pair) String() string { return "(a key)" }

// GoString is String.
func (p pair) GoString() string { return p.String() }

// OpenRoot reads the root key, or makes the first one.
func OpenRoot(ctx context.Context, opts Options) (*Root, error) {
	r := &Root{opts: opts, changed: make(chan struct{}, 1)}
	p, err := r.read(ctx)
	if apierrors.IsNotFound(err) {
		fresh := make([]byte, rootBytes)
		if _, err := rand.Read(fresh); err != nil {
			return nil, fmt.Errorf("draw a root key: %w", err)
		}
		p, err = r.create(ctx, pair{current: fresh})
	}
	if err != nil {
		return nil, err
	}
	r.pair = p
	return r, nil
}

// read's error is apierrors.IsNotFound where there is no Secret.
func (r *Root) read(ctx context.Context) (pair, error) {
	var s corev1.Secret
	name := client.ObjectKey{Namespace: r.opts.Namespace, Name: SecretName}
	if err := r.opts.Client.Get(ctx, name, &s); err != nil {
		return pair{}, fmt.Errorf("secret %s: %w", name, err)
	}
	p := pair{s.Data[MemberCurrent], s.Data[MemberPrevious]}
	if len(p.current) < rootBytes || len(p.previous) > 0 && len(p.previous) < rootBytes {
		return pair{}, fmt.Errorf("secret %s: %s has %d bytes and %s %d: a root key has %d at the least; put back what was there",
			name, MemberCurrent, len(p.current), MemberPrevious, len(p.previous), rootBytes)
	}
	return p, nil
}

// create writes p unless another replica was first; it returns what is there then.
func (r *Root) create(ctx context.Context, p pair) (pair, error) {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.opts.Namespace, Name: SecretName},
		Data:       map[string][]byte{MemberCurrent: p.current},
	}
	if len(p.previous) > 0 {
		s.Data[MemberPrevious] = p.previous
	}
	err := r.opts.Client.Create(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		return r.read(ctx)
	}
	if err != nil {
		return pair{}, fmt.Errorf("make secret %s/%s: %w", r.opts.Namespace, SecretName, err)
	}
	return p, nil
}

// Changed has a value when the key has changed since it was read. It has one reader.
func (r *Root) Changed() <-chan struct{} { return r.changed }

// Run looks for another key until ctx ends. A Secret that is gone is made again from
// memory: under another key nothing would be found that was recorded before.
func (r *Root) Run(ctx context.Context) error {
	tick := time.NewTicker(r.opts.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.refresh(ctx)
		}
	}
}

func (r *Root) refresh(ctx context.Context) {
	r.mu.RLock()
	before := r.pair
	r.mu.RUnlock()
	p, err := r.read(ctx)
	if apierrors.IsNotFound(err) {
		r.opts.Log.Warn("the Secret of the root key is gone; it is made again from memory", "secret", SecretName)
		p, err = r.create(ctx, before)
	}
	if err != nil {
		if ctx.Err() == nil {
			r.opts.Log.Error("the root key cannot be read; the one before holds", "error", err)
		}
		return
	}
	if bytes.Equal(p.current, before.current) && bytes.Equal(p.previous, before.previous) {
		return
	}
	r.mu.Lock()
	r.pair = p
	r.mu.Unlock()
	r.opts.Log.Info("another root key", "previous", len(p.previous) > 0)
	signal(r.changed)
}

// Namespace is the key of a namespace of the cluster.
func (r *Root) Namespace(cluster, namespace string) *stream.NamespaceKey {
	r.mu.RLock()
	p := r.pair
	r.mu.RUnlock()
	return stream.DeriveNamespaceKey(p.current, p.previous, cluster, namespace)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
