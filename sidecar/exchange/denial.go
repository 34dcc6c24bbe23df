// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"strings"
	"time"
)

// Denial is an answer of the proxy's own, in no protocol yet: HTTP renders it as
// RFC 9457 problem+json, Thrift as a TApplicationException.
type Denial struct {
	// Status is the HTTP status, 400 to 599.
	Status int
	// Type is the problem's type URI, see docs/problems.md.
	Type string
	// Title is the type in a few words.
	Title string
	// Detail is a sentence about this occurrence.
	Detail string
	// Policy is `<namespace>/<name>` of the policy that denied; may be empty.
	Policy string
	// Limits are the limits that were exceeded; may be empty.
	Limits []string
	// RetryAfter is when trying again makes sense; 0: not said.
	RetryAfter time.Duration
	// Exhausted: a limit is used up, whatever Status says; gRPC's RESOURCE_EXHAUSTED.
	Exhausted bool
	// Close asks the codec to end the connection after the answer.
	Close bool
}

// Problem is the last part of the type, by which docs/problems.md has it:
// `quota-exceeded`. Empty where the proxy has not answered by itself.
func (d *Denial) Problem() string { return d.Type[strings.LastIndexAny(d.Type, "/#")+1:] }
