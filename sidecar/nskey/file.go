// SPDX-License-Identifier: Apache-2.0

package nskey

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"

	"weir.dev/weir/api/stream"
)

// Without an operator nobody hands out keys: a process reads its root key from a file, or
// has one that everybody knows.

// Local is the key of a namespace where there is no operator. Without a file it is derived
// from a fixed value, which keeps nothing secret and is good for trials only.
func Local(file, cluster, namespace string) (*stream.NamespaceKey, error) {
	root := sha256.Sum256([]byte("weir: a development key, which everybody knows"))
	secret := root[:]
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if secret = bytes.TrimRight(text, "\r\n"); len(secret) < stream.MinRootKey {
			return nil, fmt.Errorf("%s has %d bytes: a key has %d at the least, as `openssl rand -hex 32` makes them", file, len(secret), stream.MinRootKey)
		}
	}
	return stream.DeriveNamespaceKey(secret, nil, cluster, namespace), nil
}
