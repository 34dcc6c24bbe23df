// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ioTimeout is when a connection that a call has left behind is given up.
const ioTimeout = 250 * time.Millisecond

// LogTo sends what the client library logs to log, at debug level: what matters of
// it is in metrics. The library's logger is the process's; main calls this once.
func LogTo(log *slog.Logger) { redis.SetLogger(logger{log}) }

type logger struct{ log *slog.Logger }

// Printf implements the library's logger.
func (l logger) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, fmt.Sprintf(format, v...))
}

// poolSize is more than there are users, so that go-redis, which stops dialling for
// a second when as many dials have failed, leaves that to the breaker.
const poolSize = 64

// conn is a client that is closed once no pipeline uses it.
type conn struct {
	redis.UniversalClient
	mu     sync.RWMutex
	closed bool
}

func newConn(opts Options, c *Credentials) *conn {
	return &conn{UniversalClient: newClient(opts, c)}
}

func (c *conn) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed = true
		_ = c.Close()
	}
}

// acquire returns the client, to be released; nil when there is none.
func (s *Store) acquire() *conn {
	for {
		c := s.conn.Load()
		if c == nil {
			return nil
		}
		c.mu.RLock()
		if !c.closed {
			return c
		}
		c.mu.RUnlock()
		if s.conn.Load() == c {
			return nil
		}
	}
}

func (c *conn) release() { c.mu.RUnlock() }

// newClient makes a client, which connects in the background: a call must not
// have to wait for a connection. Nothing is retried: a call that may have been
// carried out would spend twice. (A cluster's client follows redirects, and may
// repeat a call then: it under-admits.)
func newClient(opts Options, c *Credentials) redis.UniversalClient {
	if c == nil {
		c = &Credentials{}
	}
	var config *tls.Config
	if opts.TLS != nil {
		config = opts.TLS.Clone()
		if c.Certificate != nil {
			config.Certificates = []tls.Certificate{*c.Certificate}
		}
	}
	u := &redis.UniversalOptions{
		Addrs:                    opts.Addresses,
		IsClusterMode:            opts.Mode == Cluster,
		Protocol:                 2,
		Username:                 c.Username,
		Password:                 c.Password,
		TLSConfig:                config,
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              probeTimeout,
		ReadTimeout:              max(ioTimeout, 2*opts.Timeout),
		WriteTimeout:             max(ioTimeout, 2*opts.Timeout),
		PoolTimeout:              max(ioTimeout, 2*opts.Timeout),
		MinIdleConns:             workers + 1,
		PoolSize:                 poolSize,
		DisableIdentity:          true,
		OnConnect:                opts.connected,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch opts.Mode {
	case Sentinel:
		u.MasterName = opts.MasterName
		return redis.NewFailoverClient(u.Failover())
	case Cluster:
		return redis.NewClusterClient(u.Cluster())
	default:
		return redis.NewClient(u.Simple())
	}
}
