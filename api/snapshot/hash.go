// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// hashBytes are enough that no two snapshots of a cluster meet by chance.
const hashBytes = 10

// Hash names the content of s in 20 hex digits. Only the operator computes it:
// bytes of equal messages are equal within one build, which is all that is needed.
func Hash(s *Snapshot) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		// Strings are UTF-8 all the way from the API server, and nothing else can
		// fail; a hash of the text keeps even that case apart from others.
		b = fmt.Append(nil, s)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:hashBytes])
}
