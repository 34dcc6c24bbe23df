// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"crypto/sha256"
	"fmt"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/match"
)

// fallbackPrefix is how much of an IPv6 address stands in for a missing member:
// what one customer is given.
const fallbackPrefix = 64

// What is in hashes beside members' values.
const (
	tagNone    key.Kind = '0'
	tagMissing key.Kind = 'm'
)

// keySpec is what limits count by; limits with the same members share one, and so
// its hash.
type keySpec struct {
	parts   []key.Part
	missing snapshot.OnMissingKey
	// fields: one of parts is a field of a call's arguments.
	fields bool
	// constant is the key when there are no parts.
	constant limiter.Key
}

func (f *Filter) compileKey(policy string, l *snapshot.Limit, m *match.Matcher, specs map[string]int) (int, error) {
	if len(l.GetKey()) > key.MaxParts {
		return 0, fmt.Errorf("key has %d members, at most %d are possible", len(l.GetKey()), key.MaxParts)
	}
	spec := keySpec{missing: l.GetOnMissingKey()}
	switch spec.missing {
	case snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP, snapshot.OnMissingKey_ON_MISSING_KEY_SKIP, snapshot.OnMissingKey_ON_MISSING_KEY_DENY:
	default:
		return 0, fmt.Errorf("on_missing_key %d is unknown", spec.missing)
	}
	shared := true
	id := fmt.Sprint(spec.missing)
	for i, part := range l.GetKey() {
		c, err := key.Compile(part, m, f.env.Tokens)
		if err != nil {
			return 0, fmt.Errorf("key[%d]: %w", i, err)
		}
		// Where a parameter is depends on the limit's own templates.
		shared = shared && c.Kind() != key.PathParam
		id += "|" + c.ID()
		spec.parts = append(spec.parts, c)
		spec.fields = spec.fields || c.Kind() == key.ThriftField
	}
	if i, ok := specs[id]; ok && shared {
		return i, nil
	}
	if len(spec.parts) == 0 {
		// The policy's name spreads such buckets over the slots of a cluster.
		spec.constant = hash(key.AppendValue(nil, tagNone, []byte(policy)))
	}
	f.specs = append(f.specs, spec)
	f.fields = f.fields || spec.fields
	if shared {
		specs[id] = len(f.specs) - 1
	}
	return len(f.specs) - 1, nil
}

// verdict on a key.
type keyState uint8

const (
	keyUnset keyState = iota
	keyFound
	keySkip
	keyDeny
)

// key hashes what spec counts x by. buf is scratch, returned for reuse.
func (spec *keySpec) key(x *exchange.Exchange, rule int, p *match.Params, buf []byte) (limiter.Key, keyState, []byte) {
	if len(spec.parts) == 0 {
		return spec.constant, keyFound, buf
	}
	buf = buf[:0]
	for i := range spec.parts {
		n := len(buf)
		var doubtful bool
		buf, doubtful = spec.parts[i].Append(buf, x, rule, p)
		if len(buf) > n {
			continue
		}
		switch {
		case spec.missing == snapshot.OnMissingKey_ON_MISSING_KEY_DENY:
			return limiter.Key{}, keyDeny, buf
		case spec.missing == snapshot.OnMissingKey_ON_MISSING_KEY_SKIP && !doubtful:
			return limiter.Key{}, keySkip, buf
		}
		if buf = key.AppendAddr(buf, tagMissing, x.Client, fallbackPrefix); len(buf) == n {
			// A peer without an address: all such share a bucket.
			buf = key.AppendValue(buf, tagMissing, nil)
		}
	}
	return hash(buf), keyFound, buf
}

// hash is 128 bits of SHA-256: nobody can make up a key that falls into another's
// bucket, and all pods agree without a shared secret.
func hash(b []byte) (k limiter.Key) {
	sum := sha256.Sum256(b)
	copy(k[:], sum[:])
	return k
}
