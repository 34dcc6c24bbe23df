// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// MinRootKey is the least that a key may have from which those of namespaces are derived.
const MinRootKey = 32

const (
	// keyBytes is how long a namespace's key is.
	keyBytes = 32
	// versionBytes of a hash name a key.
	versionBytes = 8
	// salt keeps these keys apart from all else that might be derived from the root.
	salt = "weir.dev/namespace-key/v1"
)

// DeriveNamespaceKey makes a namespace's key by HKDF-SHA256 (RFC 5869). previous may be empty. The
// version is a hash of the derived keys, which nobody can try values against.
func DeriveNamespaceKey(current, previous []byte, cluster, namespace string) *NamespaceKey {
	var info []byte
	for _, s := range []string{cluster, namespace} {
		info = binary.BigEndian.AppendUint32(info, uint32(len(s)))
		info = append(info, s...)
	}
	derive := func(secret []byte) []byte {
		if len(secret) == 0 {
			return nil
		}
		// It fails for lengths that are not possible here, and for FIPS 140 with short
		// secrets, which are not taken.
		key, _ := hkdf.Key(sha256.New, secret, []byte(salt), string(info), keyBytes)
		return key
	}
	k := &NamespaceKey{Current: derive(current), Previous: derive(previous)}
	sum := sha256.Sum256(append(append([]byte("version"), k.GetCurrent()...), k.GetPrevious()...))
	k.Version = hex.EncodeToString(sum[:versionBytes])
	return k
}
