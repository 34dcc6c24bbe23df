// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/filter/idempotency"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/idempotency/seal"
	"weir.dev/weir/sidecar/store/memory"
	"weir.dev/weir/sidecar/store/redis"
)

// Where filters keep their memory in exchanges.
const slotIdempotency = 1

// IdempotencyMetrics is what an Options.Metrics may be besides.
type IdempotencyMetrics interface {
	// Idempotency gives out the counters of a policy.
	Idempotency(policy string) idempotency.Metrics
	// Ledger gives out what ledgers count in.
	Ledger() ledger.Metrics
}

// idempotency makes the filter of a policy.
func (b *build) idempotency(p *snapshot.IdempotencyPolicy) error {
	id := snapshot.IDOf(p)
	if !nameForm.fits(id.Name) {
		return refuse("IdempotencyPolicy %q: the name is no Kubernetes name.", id.Name)
	}
	if b.recorders[id.Name] != nil {
		return refuseThe(id, "The policy comes twice.")
	}
	s := b.stores[p.GetStore()]
	if s == nil {
		return refuseThe(id, "store %q is not in the snapshot.", p.GetStore())
	}
	if b.snap.GetNamespaceKeyVersion() == "" {
		return refuseThe(id, "The snapshot names no key of the namespace, under which records are kept.")
	}
	env := idempotency.Env{
		Namespace: b.snap.GetWorkload().GetNamespace(),
		Slot:      slotIdempotency,
		Keys:      &b.e.ring,
		Tokens:    b.tokensOf,
		Shadow:    b.e.idempotencyShadow(id.Name),
	}
	if name := p.GetEncryptionKey(); name != "" {
		env.Sealer = b.e.sealer(name)
	}
	if m, ok := b.e.opts.Metrics.(IdempotencyMetrics); ok {
		env.Metrics = m.Idempotency(id.Name)
	}
	var err error
	if env.Ledger, env.Store, err = b.e.ledgerOf(s); err != nil {
		return refuseThe(id, "%s.", sentence(err))
	}
	f, err := idempotency.Compile(p, env)
	if err != nil {
		return refuseThe(id, "%s.", sentence(err))
	}
	b.recorders[id.Name] = f
	return nil
}

// records are a store's idempotency records, made when a policy needs them first. They
// stay as long as the store does, whatever the snapshots between say, and with them what
// is in flight.
type records struct {
	store  record.Store
	ledger *ledger.Ledger
	// memory is set where there is no server.
	memory *memory.Records
	claims *claims
	// eviction is what the server does when it is full; nil: not known.
	eviction atomic.Pointer[string]
	cancel   context.CancelFunc
	done     chan struct{}
}

// ledgerOf a store. e.mu is held.
func (e *Engine) ledgerOf(s *sharedStore) (*ledger.Ledger, record.Store, error) {
	if s.records != nil {
		return s.records.ledger, s.records.store, nil
	}
	r := &records{claims: &claims{Metrics: noLedgerMetrics{}}, done: make(chan struct{})}
	if m, ok := e.opts.Metrics.(IdempotencyMetrics); ok {
		r.claims.Metrics = m.Ledger()
	}
	opts := ledger.Options{Metrics: r.claims, Suspect: e.suspect(s.name)}
	if s.redis == nil {
		r.memory = memory.NewRecords(memory.RecordOptions{})
		r.store = r.memory
	} else {
		r.store = redis.NewRecords(s.redis)
		opts.Notes = e.notesOf(s)
	}
	opts.Store = r.store
	var err error
	if r.ledger, err = ledger.New(opts); err != nil && opts.Notes != "" {
		// Without notes a crash leaves outcomes unknown that were not: that is less than
		// what is promised, and no reason to refuse what a pod can do.
		e.warn("no notes of requests in flight are kept: what a crash of this container leaves behind stays in doubt", err)
		opts.Notes = ""
		r.ledger, err = ledger.New(opts)
	}
	if err != nil {
		if r.memory != nil {
			r.memory.Close()
		}
		return nil, nil, fmt.Errorf("idempotency cannot be served: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go r.watch(ctx, s.redis)
	s.records = r
	return r.ledger, r.store, nil
}

// suspect logs each request that may have been executed twice, by the id that the
// application has got: somebody has to look at it.
func (e *Engine) suspect(store string) func(record.ID, ledger.Suspicion) {
	return func(id record.ID, why ledger.Suspicion) {
		msg := "a request may have been executed twice: the store had lost its record"
		if why == ledger.ExecutedTwice {
			msg = "a request was executed here, and another response of it holds"
		}
		if e.opts.Log != nil {
			e.opts.Log.Warn(msg, "weir-idempotency-id", hex.EncodeToString(id[:]), "store", store)
		}
	}
}

// notesOf is the directory for notes on what is in flight at a store: that of another
// server is another's.
func (e *Engine) notesOf(s *sharedStore) string {
	if e.opts.Notes == "" {
		return ""
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.config)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(append(b, s.name+"\x00"+s.prefix...))
	return filepath.Join(e.opts.Notes, hex.EncodeToString(sum[:8]))
}

// close ends the ledger, then what it works with.
func (r *records) close() {
	if r == nil {
		return
	}
	r.cancel()
	<-r.done
	r.ledger.Close()
	if r.memory != nil {
		r.memory.Close()
	}
}

// busy reports whether outcomes wait for the store.
func (r *records) busy() bool { return r != nil && r.ledger.Unsettled() > 0 }

// inFlight reports whether requests are.
func (r *records) inFlight() bool { return r != nil && r.claims.n.Load() > 0 }

const (
	// watchSoon and watchEvery are when a server is asked what it does when it is full,
	// watchTimeout bounds each try.
	watchSoon, watchEvery = 2 * time.Second, 5 * time.Minute
	watchTimeout          = time.Second
)

// watch asks the server, first soon and until it has answered.
func (r *records) watch(ctx context.Context, s *redis.Store) {
	defer close(r.done)
	if s == nil {
		return
	}
	for {
		wait := watchSoon
		asking, cancel := context.WithTimeout(ctx, watchTimeout)
		policy, err := s.EvictionPolicy(asking)
		cancel()
		if err == nil {
			r.eviction.Store(&policy)
		}
		if err == nil || r.eviction.Load() != nil {
			wait = watchEvery
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// problem is what the store cannot do that records need; nil: nothing is known.
func (s *sharedStore) problem() *stream.StoreProblem {
	if s.records == nil {
		return nil
	}
	policy := s.records.eviction.Load()
	if policy == nil || *policy == "noeviction" {
		return nil
	}
	return &stream.StoreProblem{Store: s.name, Kind: stream.StoreProblem_KIND_EVICTION, Detail: words(*policy)}
}

// words is what a server says of itself, short enough for a status.
func words(s string) string {
	out := []byte(s[:min(len(s), 32)])
	for i, c := range out {
		if (c < 'a' || c > 'z') && c != '-' {
			out[i] = '?'
		}
	}
	return string(out)
}

// claims counts what is in flight at one store.
type claims struct {
	ledger.Metrics
	n atomic.Int64
}

// InFlight implements ledger.Metrics.
func (c *claims) InFlight(delta int) {
	c.n.Add(int64(delta))
	c.Metrics.InFlight(delta)
}

type noLedgerMetrics struct{}

func (noLedgerMetrics) InFlight(int)                {}
func (noLedgerMetrics) Renewed(int)                 {}
func (noLedgerMetrics) Fenced()                     {}
func (noLedgerMetrics) Duplicate()                  {}
func (noLedgerMetrics) Lost()                       {}
func (noLedgerMetrics) Unknown()                    {}
func (noLedgerMetrics) Store(string, time.Duration) {}
func (noLedgerMetrics) StoredBytes(int)             {}
func (noLedgerMetrics) ReplayedLocally()            {}

// sealer of a user's key, the same for each call. Its secret may come later.
func (e *Engine) sealer(name string) *seal.Sealer {
	s := e.sealers[name]
	if s == nil {
		s = &seal.Sealer{}
		e.sealers[name] = s
	}
	return s
}

// setKeys takes over the keys of the namespace and of users. Those that are not in the
// message stay.
func (e *Engine) setKeys(secrets *stream.Secrets) (failed error) {
	if k := secrets.GetNamespaceKey(); k != nil {
		if err := e.ring.Set(k.GetCurrent(), k.GetPrevious()); err != nil {
			failed = err
		}
	}
	for _, k := range secrets.GetKeys() {
		if err := e.sealer(k.GetName()).Set(k.GetCurrent(), k.GetPrevious()); err != nil {
			failed = fmt.Errorf("key %q: %w", k.GetName(), err)
		}
	}
	return failed
}

// idempotencyShadow counts of a policy, the same for each call.
func (e *Engine) idempotencyShadow(policy string) *idempotency.Shadow {
	n := e.recorded[policy]
	if n == nil {
		n = &idempotency.Shadow{}
		e.recorded[policy] = n
	}
	return n
}

// reportIdempotency adds what policies with mode Shadow would have done, and what stores
// cannot do.
func (e *Engine) reportIdempotency(r *stream.Report) {
	for policy, n := range e.recorded {
		out := &stream.IdempotencyShadow{Policy: policy, WouldReplay: n.Replay.Load(), WouldRefuse: n.Refuse.Load(), WouldWait: n.Wait.Load()}
		if out.WouldReplay+out.WouldRefuse+out.WouldWait > 0 {
			r.IdempotencyShadow = append(r.IdempotencyShadow, out)
		}
	}
	for _, s := range e.stores {
		if p := s.problem(); p != nil {
			r.Stores = append(r.Stores, p)
		}
	}
}

func (e *Engine) warn(msg string, err error) {
	if e.opts.Log != nil {
		e.opts.Log.Warn(msg, "error", err)
	}
}
