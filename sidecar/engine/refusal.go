// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"fmt"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// Refusal says why a snapshot is not served.
type Refusal struct {
	// Policy at fault, kind/name such as RateLimitPolicy/payments; empty when
	// the snapshot as a whole is.
	Policy string
	// Reason is a sentence.
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Policy == "" {
		return r.Reason
	}
	return r.Policy + ": " + r.Reason
}

func refuse(format string, args ...any) *Refusal {
	return &Refusal{Reason: fmt.Sprintf(format, args...)}
}

func refuseThe(id snapshot.PolicyID, format string, args ...any) *Refusal {
	return &Refusal{Policy: id.String(), Reason: fmt.Sprintf(format, args...)}
}

func refusePolicy(name, format string, args ...any) *Refusal {
	return &Refusal{Policy: stream.KindRateLimitPolicy + "/" + name, Reason: fmt.Sprintf(format, args...)}
}
