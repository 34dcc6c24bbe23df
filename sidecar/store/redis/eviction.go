// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"strings"
)

// ErrNoPolicy says that the server does not tell its maxmemory-policy.
var ErrNoPolicy = errors.New("the server does not tell its maxmemory-policy")

// EvictionPolicy is the server's maxmemory-policy, such as noeviction. INFO tells it,
// which fewer rules of access forbid than CONFIG; where that is forbidden too, or does
// not tell, it is ErrNoPolicy.
func (s *Store) EvictionPolicy(ctx context.Context) (string, error) {
	c := s.acquire()
	if c == nil {
		return "", ErrNoPolicy
	}
	defer c.release()
	info, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return "", errors.Join(ErrNoPolicy, err)
	}
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return policy, nil
		}
	}
	return "", ErrNoPolicy
}
