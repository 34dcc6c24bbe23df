// SPDX-License-Identifier: Apache-2.0

package nskey

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
)

// Size of the namespace's key and of those derived from it.
const Size = sha256.Size

// Keys are derived from one key: HMAC-SHA256 of "weir/" and the purpose.
type Keys struct {
	// Records names the records of requests, and hashes what is compared of them.
	Records [Size]byte
	// Credentials hashes the credentials of requests.
	Credentials [Size]byte
	// Delivery signs weir-delivery.
	Delivery [Size]byte
}

// Derive returns the keys of a namespace's key.
func Derive(namespace []byte) (*Keys, error) {
	if len(namespace) != Size {
		return nil, fmt.Errorf("the namespace's key has %d bytes, not %d", len(namespace), Size)
	}
	k := &Keys{}
	for purpose, to := range map[string]*[Size]byte{"records": &k.Records, "credentials": &k.Credentials, "delivery": &k.Delivery} {
		h := hmac.New(sha256.New, namespace)
		_, _ = h.Write([]byte("weir/" + purpose))
		h.Sum(to[:0])
	}
	return k, nil
}

// String keeps keys out of logs.
func (*Keys) String() string { return "REDACTED" }

// GoString keeps them out of dumps.
func (*Keys) GoString() string { return "REDACTED" }

// Pair is what holds at a time. Previous is nil where there is none: it is good for
// what was written or signed before.
type Pair struct{ Current, Previous *Keys }

// Ring holds a Pair that changes. The zero value holds none. Safe for concurrent use.
type Ring struct{ pair atomic.Pointer[Pair] }

// Load returns what holds, nil where nothing does yet.
func (r *Ring) Load() *Pair { return r.pair.Load() }

// Set changes the keys; previous may be empty. After an error those before hold on.
func (r *Ring) Set(current, previous []byte) error {
	p := &Pair{}
	var err error
	if p.Current, err = Derive(current); err != nil {
		return err
	}
	if len(previous) > 0 {
		if p.Previous, err = Derive(previous); err != nil {
			return fmt.Errorf("previous: %w", err)
		}
	}
	r.pair.Store(p)
	return nil
}
