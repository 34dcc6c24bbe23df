// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// MinSecret is how short a secret may be.
const MinSecret = 16

const (
	version  = 1
	idSize   = 4
	keySize  = 32
	overhead = 1 + idSize + nonceSize + tagSize

	nonceSize, tagSize = 12, 16
)

// Info of HKDF, beside the record's id.
const (
	infoID     = "weir/idempotency/key id"
	infoRecord = "weir/idempotency/record/"
)

// ErrSealed says that a payload cannot be opened: its key is gone, or it is not what
// was sealed.
var ErrSealed = errors.New("the recorded response cannot be decrypted")

// Sealer holds a secret that changes. The zero value holds none. Safe for concurrent
// use.
type Sealer struct{ keys atomic.Pointer[[]*key] }

// key is one secret's.
type key struct {
	id     [idSize]byte
	master []byte
}

// Set changes the secrets; previous may be empty, and opens what it has sealed. After
// an error those before hold on.
func (s *Sealer) Set(current, previous []byte) error {
	var keys []*key
	for i, secret := range [][]byte{current, previous} {
		if i > 0 && len(secret) == 0 {
			continue
		}
		k, err := newKey(secret)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	s.keys.Store(&keys)
	return nil
}

func newKey(secret []byte) (*key, error) {
	if len(secret) < MinSecret {
		return nil, fmt.Errorf("a key that encrypts records has %d bytes, at least %d are needed", len(secret), MinSecret)
	}
	k := &key{}
	var err error
	if k.master, err = hkdf.Extract(sha256.New, secret, nil); err != nil {
		return nil, err
	}
	id, err := hkdf.Expand(sha256.New, k.master, infoID, idSize)
	copy(k.id[:], id)
	return k, err
}

// Ready reports whether there is a secret.
func (s *Sealer) Ready() bool { return s.keys.Load() != nil }

// of is the cipher of one record.
func (k *key) of(id record.ID) (cipher.AEAD, error) {
	derived, err := hkdf.Expand(sha256.New, k.master, infoRecord+string(id[:]), keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Seal appends plain to dst, encrypted. Without a secret it appends what cannot be
// opened.
func (s *Sealer) Seal(dst []byte, id record.ID, plain []byte) []byte {
	keys := s.keys.Load()
	if keys == nil {
		return append(dst, 0)
	}
	k := (*keys)[0]
	aead, err := k.of(id)
	if err != nil {
		return append(dst, 0)
	}
	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails
	dst = append(dst, version)
	dst = append(dst, k.id[:]...)
	dst = append(dst, nonce[:]...)
	return aead.Seal(dst, nonce[:], plain, id[:])
}

// Open appends to dst what Seal was given.
func (s *Sealer) Open(dst []byte, id record.ID, sealed []byte) ([]byte, error) {
	keys := s.keys.Load()
	if keys == nil || len(sealed) < overhead || sealed[0] != version {
		return dst, ErrSealed
	}
	name, rest := sealed[1:1+idSize], sealed[1+idSize:]
	for _, k := range *keys {
		if string(name) != string(k.id[:]) {
			continue
		}
		aead, err := k.of(id)
		if err != nil {
			return dst, ErrSealed
		}
		if out, err := aead.Open(dst, rest[:nonceSize], rest[nonceSize:], id[:]); err == nil {
			return out, nil
		}
	}
	return dst, ErrSealed
}
