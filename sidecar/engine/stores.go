// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/store/lease"
	"weir.dev/weir/sidecar/store/redis"
)

// retireAfter is how long a store is kept for requests that began with the program
// before, settleAfter how long it waits, when those are through, for a server that does
// not take their outcomes.
const (
	retireAfter = 2 * time.Second
	settleAfter = time.Minute
)

const maxAddresses = 64

// sharedStore is a store of the snapshot. Without a server it is this process
// alone, and limits of scope Cluster are kept in tables.
type sharedStore struct {
	name  string
	redis *redis.Store
	// leases are of its limits, by <policy>/<limit>.
	leases map[string]*lease.Table
	// config and prefix say what it is connected to.
	config *snapshot.Redis
	prefix string
	// secret: it is used with credentials only.
	secret bool
	// records are nil until an idempotency policy needs them.
	records *records
}

func (s *sharedStore) close() {
	s.records.close()
	if s.redis != nil {
		s.redis.Close()
	}
}

// same reports whether the connection serves opts and config as well.
func (s *sharedStore) same(opts redis.Options, config *snapshot.Redis) bool {
	return s != nil && s.redis != nil && s.secret == opts.NeedCredentials && s.prefix == opts.KeyPrefix && proto.Equal(s.config, config)
}

// leasesOf returns the leases of a limit, the same for each call.
func (s *sharedStore) leasesOf(id string, now func() int64) *lease.Table {
	t := s.leases[id]
	if t == nil {
		if s.leases == nil {
			s.leases = map[string]*lease.Table{}
		}
		t = lease.New(now, s.redis.Tokens(id))
		s.leases[id] = t
	}
	return t
}

// forget gives back the leases of all limits but those for which keep is true.
func (s *sharedStore) forget(keep func(id string) bool) {
	for id, t := range s.leases {
		if !keep(id) {
			t.Close()
			delete(s.leases, id)
		}
	}
}

// sweepLeases lets go of keys that nobody asks for.
func (e *Engine) sweepLeases() {
	e.mu.Lock()
	var all []*lease.Table
	for _, s := range e.stores {
		all = slices.AppendSeq(all, maps.Values(s.leases))
	}
	e.mu.Unlock()
	for _, t := range all {
		t.Sweep()
	}
}

func (s *sharedStore) ratelimit() ratelimit.Store {
	if s.redis == nil {
		return nil
	}
	return s.redis
}

// openStores takes over the stores that are as before and starts the others. None
// waits for a server.
func (b *build) openStores() error {
	for _, s := range b.snap.GetStores() {
		name := s.GetName()
		if name == "" || len(name) > maxString {
			return refuse("Store %q: the name is empty or longer than %d bytes.", name, maxString)
		}
		if b.stores[name] != nil {
			return refuse("Store %q comes twice.", name)
		}
		if s.GetRedis() == nil {
			if old := b.e.stores[name]; old != nil && old.redis == nil {
				b.stores[name] = old
			} else {
				b.stores[name] = &sharedStore{name: name}
				b.started = append(b.started, b.stores[name])
			}
			continue
		}
		opts, err := b.redisOptions(s)
		if err != nil {
			return refuse("Store %q: %s.", name, err)
		}
		if old := b.e.storeLike(name, opts, s.GetRedis()); old != nil {
			b.stores[name] = old
			continue
		}
		var creds *redis.Credentials
		if opts.NeedCredentials {
			if creds, err = credentials(b.e.secrets[name]); err != nil {
				return refuse("Store %q: %s.", name, err)
			}
		}
		started := &sharedStore{name: name, redis: redis.New(opts, creds), config: s.GetRedis(), prefix: opts.KeyPrefix, secret: opts.NeedCredentials}
		b.stores[name] = started
		b.started = append(b.started, started)
	}
	return nil
}

// storeLike returns a store that serves opts and config, also one on its way out.
func (e *Engine) storeLike(name string, opts redis.Options, config *snapshot.Redis) *sharedStore {
	if s := e.stores[name]; s.same(opts, config) {
		return s
	}
	for s := range e.retired {
		if s.name == name && s.same(opts, config) {
			return s
		}
	}
	return nil
}

func (b *build) redisOptions(s *snapshot.Store) (redis.Options, error) {
	r := s.GetRedis()
	opts := redis.Options{
		Name:            s.GetName(),
		Addresses:       r.GetAddresses(),
		MasterName:      r.GetMasterName(),
		Timeout:         b.e.opts.StoreTimeout,
		NeedCredentials: s.GetCredentialsVersion() != "",
	}
	if b.e.opts.Metrics != nil {
		opts.Metrics = b.e.opts.Metrics
	}
	switch r.GetMode() {
	case snapshot.Redis_MODE_STANDALONE:
		if len(r.GetAddresses()) != 1 {
			return opts, fmt.Errorf("mode Standalone needs one address, not %d", len(r.GetAddresses()))
		}
	case snapshot.Redis_MODE_SENTINEL:
		opts.Mode = redis.Sentinel
		if r.GetMasterName() == "" {
			return opts, fmt.Errorf("mode Sentinel needs master_name")
		}
	case snapshot.Redis_MODE_CLUSTER:
		opts.Mode = redis.Cluster
	default:
		return opts, fmt.Errorf("mode %d is unknown", r.GetMode())
	}
	if n := len(r.GetAddresses()); n < 1 || n > maxAddresses {
		return opts, fmt.Errorf("%d addresses, 1 to %d are possible", n, maxAddresses)
	}
	for _, a := range r.GetAddresses() {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" || len(a) > maxString {
			return opts, fmt.Errorf("address %q is no host:port", a)
		}
	}
	if !prefixForm.fits(r.GetKeyPrefix()) {
		return opts, fmt.Errorf("key_prefix %q has characters that keys cannot have", r.GetKeyPrefix())
	}
	w := b.snap.GetWorkload()
	opts.KeyPrefix = r.GetKeyPrefix() + ":" + w.GetCluster() + ":" + w.GetNamespace()
	var err error
	opts.TLS, err = tlsConfig(r.GetTls())
	return opts, err
}

func tlsConfig(t *snapshot.TLS) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.GetServerName()}
	if t.GetCaPem() != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.GetCaPem())) {
			return nil, fmt.Errorf("tls.ca_pem has no certificate in PEM")
		}
	}
	return c, nil
}

func credentials(c *stream.StoreCredentials) (*redis.Credentials, error) {
	if c == nil {
		return nil, nil
	}
	out := &redis.Credentials{Username: c.GetUsername(), Password: c.GetPassword()}
	if len(c.GetClientCert()) > 0 || len(c.GetClientKey()) > 0 {
		pair, err := tls.X509KeyPair(c.GetClientCert(), c.GetClientKey())
		if err != nil {
			return nil, fmt.Errorf("the client certificate and key are not usable: %w", err)
		}
		out.Certificate = &pair
	}
	return out, nil
}

// SetSecrets gives stores their credentials, now or when a snapshot names them, and
// policies their keys. A store whose credentials have changed connects anew. Stores and
// keys that are not in the message keep theirs. Credentials that are not usable are an
// error; the others are set.
func (e *Engine) SetSecrets(secrets *stream.Secrets) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	failed := e.setKeys(secrets)
	for _, c := range secrets.GetStores() {
		name := c.GetStore()
		if e.closed || proto.Equal(e.secrets[name], c) {
			continue
		}
		creds, err := credentials(c)
		if err != nil {
			failed = fmt.Errorf("store %q: %w", name, err)
			continue
		}
		e.secrets[name] = proto.CloneOf(c)
		if s := e.stores[name]; s != nil && s.redis != nil && s.secret {
			s.redis.SetCredentials(*creds)
		}
	}
	return failed
}
