// SPDX-License-Identifier: Apache-2.0

package jwks

import (
	"context"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/config"
)

// How often a provider is asked: as its Cache-Control says, within bounds.
const (
	MinInterval = time.Minute
	MaxInterval = time.Hour
	// usual is for those that say nothing.
	usual = 5 * time.Minute
	// first and last wait after a failure.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// Options of a Keeper.
type Options struct {
	Providers []config.JWTProvider
	// Client is NewClient() but in tests.
	Client *http.Client
	Log    *slog.Logger
}

// Keeper knows the providers' keys. Safe for concurrent use.
type Keeper struct {
	opts    Options
	changed chan struct{}
	tried   chan struct{}

	mu   sync.Mutex
	keys map[string][]*snapshot.JWTKey
}

// New returns a Keeper that knows nothing until Run.
func New(opts Options) *Keeper {
	return &Keeper{opts: opts, changed: make(chan struct{}, 1), tried: make(chan struct{}), keys: map[string][]*snapshot.JWTKey{}}
}

// Keys returns what is known by now, by provider. Nothing of it changes later.
func (k *Keeper) Keys() map[string][]*snapshot.JWTKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.keys)
}

// Changed has a value when keys have changed since it was read. It has one reader.
func (k *Keeper) Changed() <-chan struct{} { return k.changed }

// Tried is closed when every provider has been asked once, whatever came of it.
func (k *Keeper) Tried() <-chan struct{} { return k.tried }

// Run asks until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var all, once sync.WaitGroup
	for i := range k.opts.Providers {
		once.Add(1)
		all.Go(func() { k.keep(ctx, &k.opts.Providers[i], once.Done) })
	}
	once.Wait()
	close(k.tried)
	all.Wait()
	return nil
}

func (k *Keeper) keep(ctx context.Context, p *config.JWTProvider, tried func()) {
	etag, failures := "", 0
	for first := true; first || ctx.Err() == nil; first = false {
		a, err := fetch(ctx, k.opts.Client, p.JWKS.URL, etag)
		var wait time.Duration
		if err != nil {
			failures++
			wait = retry(failures)
			if ctx.Err() == nil {
				k.opts.Log.Warn("keys of a JWT provider cannot be fetched; those before hold", "provider", p.Name, "url", p.JWKS.URL, "error", err, "again", wait.String())
			}
		} else {
			failures, etag = 0, a.etag
			k.learn(p.Name, a.keys)
			now := time.Now()
			wait = next(now, interval(a.age), p.JWKS.URL).Sub(now)
		}
		if first {
			tried()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (k *Keeper) learn(name string, keys []*snapshot.JWTKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if keys == nil || slices.EqualFunc(k.keys[name], keys, func(a, b *snapshot.JWTKey) bool { return proto.Equal(a, b) }) {
		return
	}
	k.keys[name] = keys
	k.opts.Log.Info("keys of a JWT provider", "provider", name, "keys", len(keys))
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

func interval(age time.Duration) time.Duration {
	if age == 0 {
		return usual
	}
	return min(max(age, MinInterval), MaxInterval)
}

// next is the same instant for all replicas, and another one for each provider.
func next(now time.Time, every time.Duration, url string) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(url))
	phase := time.Duration(h.Sum64() % uint64(every))
	return now.Add(-phase).Truncate(every).Add(every + phase)
}

// retry doubles, with jitter.
func retry(failures int) time.Duration {
	wait := min(firstRetry<<min(failures-1, 10), lastRetry)
	return wait/2 + rand.N(wait/2+1)
}
