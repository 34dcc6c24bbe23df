// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// LabelUse on a Secret lets the operator read it.
const (
	LabelUse = "weir.dev/use"
	UseTrue  = "true"
)

// Secret is what is known of one.
type Secret struct {
	// Found: it is there. Denied: the operator may not get it.
	Found, Denied bool
	// Labelled: it is to be used; others have no Data.
	Labelled bool
	// Version is another one when the content is.
	Version string
	Data    map[string][]byte
}

// String has nothing of the content.
func (s Secret) String() string {
	return fmt.Sprintf("secret of version %q, %d members", s.Version, len(s.Data))
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// same reports whether a reader need not know that b has taken a's place. A version
// covers the content.
func same(a, b Secret) bool {
	return a.Found == b.Found && a.Denied == b.Denied && a.Labelled == b.Labelled && a.Version == b.Version
}

// Secrets remembers those that were asked for, and looks again. Safe for concurrent
// use.
type Secrets struct {
	opts    Options
	changed chan struct{}

	mu    sync.Mutex
	known map[types.NamespacedName]Secret
	// dirty are namespaces with a Secret that has changed.
	dirty map[string]bool
}

// NewSecrets returns Secrets that know nothing.
func NewSecrets(opts Options) *Secrets {
	return &Secrets{opts: opts, changed: make(chan struct{}, 1), known: map[types.NamespacedName]Secret{}, dirty: map[string]bool{}}
}

// Get returns a Secret as it was seen last, or reads it. An error says that the API
// server did not tell, and nothing of the Secret.
func (s *Secrets) Get(ctx context.Context, namespace, name string) (Secret, error) {
	id := types.NamespacedName{Namespace: namespace, Name: name}
	s.mu.Lock()
	known, ok := s.known[id]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	read, err := s.read(ctx, id, Secret{})
	if err != nil {
		return Secret{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[id] = read
	return read, nil
}

// Keep forgets the Secrets of a namespace that nobody names any more.
func (s *Secrets) Keep(namespace string, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.known, func(id types.NamespacedName, _ Secret) bool {
		return id.Namespace == namespace && !slices.Contains(names, id.Name)
	})
}

// Changed has a value when Take has something to give. It has one reader.
func (s *Secrets) Changed() <-chan struct{} { return s.changed }

// Take returns the namespaces with a Secret that has changed since the last call,
// sorted.
func (s *Secrets) Take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Sorted(maps.Keys(s.dirty))
	clear(s.dirty)
	return out
}

// Run looks for changes until ctx ends.
func (s *Secrets) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opts.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.refresh(ctx)
		}
	}
}

func (s *Secrets) refresh(ctx context.Context) {
	s.mu.Lock()
	before := maps.Clone(s.known)
	s.mu.Unlock()
	for id, old := range before {
		now, err := s.read(ctx, id, old)
		if err != nil {
			if ctx.Err() == nil {
				s.opts.Log.Warn("a Secret cannot be read; what it was holds", "secret", id.String(), "error", err)
			}
			continue
		}
		if same(old, now) {
			continue
		}
		s.mu.Lock()
		if _, kept := s.known[id]; kept {
			s.known[id] = now
			s.dirty[id.Namespace] = true
			signal(s.changed)
		}
		s.mu.Unlock()
	}
}

// read gets the metadata, and the content where the label allows it and it is not
// that of old.
func (s *Secrets) read(ctx context.Context, id types.NamespacedName, old Secret) (Secret, error) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if out, done, err := outcome(id, s.opts.Client.Get(ctx, id, meta), meta); done {
		return out, err
	}
	if old.Labelled && old.Version == version(meta) {
		return old, nil
	}
	secret := &corev1.Secret{}
	if out, done, err := outcome(id, s.opts.Client.Get(ctx, id, secret), secret); done {
		return out, err
	}
	return Secret{Found: true, Labelled: true, Version: version(secret), Data: secret.Data}, nil
}

// outcome is what follows from an answer; done: there is nothing more to be read.
func outcome(id types.NamespacedName, err error, o metav1.Object) (out Secret, done bool, _ error) {
	switch {
	case apierrors.IsNotFound(err):
		return Secret{}, true, nil
	case apierrors.IsForbidden(err):
		return Secret{Denied: true}, true, nil
	case err != nil:
		return Secret{}, true, fmt.Errorf("secret %s: %w", id, err)
	case o.GetLabels()[LabelUse] != UseTrue:
		return Secret{Found: true}, true, nil
	}
	return Secret{}, false, nil
}

// version is not a hash of the content: values could be tried against it.
func version(o metav1.Object) string { return string(o.GetUID()) + "/" + o.GetResourceVersion() }
