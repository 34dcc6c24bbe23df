// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"crypto/sha256"
	"sync"
)

const (
	// shards keep requests from waiting for each other.
	shards = 16
	// perShard bounds the tokens that are remembered.
	perShard = 256
	// sweepEvery is how long, in seconds, a full shard waits before it looks again
	// for what has expired.
	sweepEvery = 10
)

// cache is of verified tokens by their hash: a hit proves that the token is the very
// one that was verified. It evicts nothing that still holds.
type cache struct {
	shards [shards]shard
}

type shard struct {
	mu     sync.RWMutex
	tokens map[[sha256.Size]byte]*verified
	swept  int64
}

func (c *cache) get(id *[sha256.Size]byte) (*verified, bool) {
	s := &c.shards[id[0]%shards]
	s.mu.RLock()
	v, ok := s.tokens[*id]
	s.mu.RUnlock()
	return v, ok
}

func (c *cache) put(id *[sha256.Size]byte, v *verified, now int64) {
	if now >= v.expires {
		return
	}
	s := &c.shards[id[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tokens) >= perShard && now-s.swept >= sweepEvery {
		s.swept = now
		for k, old := range s.tokens {
			if now >= old.expires {
				delete(s.tokens, k)
			}
		}
	}
	if len(s.tokens) >= perShard {
		return
	}
	if s.tokens == nil {
		s.tokens = map[[sha256.Size]byte]*verified{}
	}
	s.tokens[*id] = v
}
