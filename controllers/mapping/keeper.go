// SPDX-License-Identifier: Apache-2.0

package mapping

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/attach"
)

// Mapping is what is known of an IDL.
type Mapping struct {
	// Transcoding is the last valid one; nil: there was none.
	Transcoding *snapshot.Transcoding
	// Problem is why what is there now is not valid: sentences; empty: it is.
	Problem string
	// Version is the ConfigMap's resourceVersion; empty: it is not there.
	Version string
	// Warnings are about a valid one: sentences.
	Warnings string
}

// Options of a Keeper; all are needed.
type Options struct {
	// Client must not cache: the operator may not list ConfigMaps.
	Client client.Reader
	// Every is how often the API server is asked.
	Every time.Duration
	Log   *slog.Logger
}

type id struct {
	namespace string
	idl       attach.IDL
}

type entry struct {
	Mapping
	// version is of the ConfigMap; empty: it is not there.
	version string
}

// Keeper remembers those that were asked for, and looks again. Safe for concurrent use.
type Keeper struct {
	opts    Options
	changed chan struct{}

	mu    sync.Mutex
	known map[id]entry
	// dirty are namespaces with a mapping that has changed.
	dirty map[string]bool
}

// New returns a Keeper that knows nothing.
func New(opts Options) *Keeper {
	return &Keeper{opts: opts, changed: make(chan struct{}, 1), known: map[id]entry{}, dirty: map[string]bool{}}
}

// Get returns a mapping as it was seen last, or reads it. An error says that the API
// server did not tell.
func (k *Keeper) Get(ctx context.Context, namespace string, idl attach.IDL) (Mapping, error) {
	at := id{namespace, idl}
	k.mu.Lock()
	known, ok := k.known[at]
	k.mu.Unlock()
	if ok {
		return known.Mapping, nil
	}
	read, err := k.read(ctx, at, entry{})
	if err != nil {
		return Mapping{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known[at] = read
	return read.Mapping, nil
}

// Keep forgets the mappings of a namespace that no Service names any more.
func (k *Keeper) Keep(namespace string, named []attach.IDL) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.known, func(at id, _ entry) bool { return at.namespace == namespace && !slices.Contains(named, at.idl) })
}

// Changed has a value when Take has something to give. It has one reader.
func (k *Keeper) Changed() <-chan struct{} { return k.changed }

// Take returns the namespaces with a mapping that has changed since the last call,
// sorted.
func (k *Keeper) Take() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := slices.Sorted(maps.Keys(k.dirty))
	clear(k.dirty)
	return out
}

// Run looks for changes until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.opts.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			k.refresh(ctx)
		}
	}
}

func (k *Keeper) refresh(ctx context.Context) {
	k.mu.Lock()
	before := maps.Clone(k.known)
	k.mu.Unlock()
	for at, old := range before {
		now, err := k.read(ctx, at, old)
		if err != nil {
			if ctx.Err() == nil {
				k.opts.Log.Warn("a ConfigMap cannot be read; the mapping that it was holds", "namespace", at.namespace, "idl", at.idl.String(), "error", err)
			}
			continue
		}
		if now.version == old.version && now.Problem == old.Problem {
			continue
		}
		k.mu.Lock()
		if _, kept := k.known[at]; kept {
			k.known[at] = now
			k.dirty[at.namespace] = true
			select {
			case k.changed <- struct{}{}:
			default:
			}
		}
		k.mu.Unlock()
	}
}

// read gets the ConfigMap, and compiles it where it is another one than old's.
func (k *Keeper) read(ctx context.Context, at id, old entry) (entry, error) {
	var m corev1.ConfigMap
	name := types.NamespacedName{Namespace: at.namespace, Name: at.idl.ConfigMap}
	out := entry{Mapping: Mapping{Transcoding: old.Transcoding}}
	switch err := k.opts.Client.Get(ctx, name, &m); {
	case apierrors.IsNotFound(err):
		out.Problem = fmt.Sprintf("There is no ConfigMap %s in the namespace: create it, or correct the annotation.", at.idl.ConfigMap)
		return out, nil
	case apierrors.IsForbidden(err):
		out.Problem = fmt.Sprintf("The operator may not get ConfigMap %s: allow it with a RoleBinding to the ClusterRole weir-configmaps.", at.idl.ConfigMap)
		return out, nil
	case err != nil:
		return entry{}, fmt.Errorf("configmap %s: %w", name, err)
	}
	out.version, out.Version = string(m.UID)+"/"+m.ResourceVersion, m.ResourceVersion
	if out.version == old.version {
		return old, nil
	}
	compiled := Compile(m.Data, at.idl)
	out.Problem, out.Warnings = compiled.Problem, compiled.Warnings
	if compiled.Problem == "" {
		out.Transcoding = compiled.Transcoding
	}
	return out, nil
}
