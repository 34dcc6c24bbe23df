// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"fmt"
	"net/http"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
)

// Problem types, see docs/problems.md.
const (
	TypeKeyMissing        = "https://weir.dev/problems/idempotency-key-missing"
	TypeKeyInvalid        = "https://weir.dev/problems/idempotency-key-invalid"
	TypeKeyReused         = "https://weir.dev/problems/idempotency-key-reused"
	TypeInProgress        = "https://weir.dev/problems/idempotency-in-progress"
	TypeOutcomeUnknown    = "https://weir.dev/problems/idempotency-outcome-unknown"
	TypeNotRetained       = "https://weir.dev/problems/idempotency-response-not-retained"
	TypeCredentialsDiffer = "https://weir.dev/problems/idempotency-credentials-differ"
	TypeStoreUnavailable  = "https://weir.dev/problems/idempotency-store-unavailable"
	TypeBodyTooLarge      = "https://weir.dev/problems/idempotency-body-too-large"
)

func (f *Filter) deny(x *exchange.Exchange, r Result, d exchange.Denial) exchange.Verdict {
	f.count(r)
	d.Policy = f.policy
	x.Deny(d)
	return exchange.Respond
}

func (f *Filter) denyMissing(x *exchange.Exchange, why string) exchange.Verdict {
	return f.deny(x, KeyMissing, exchange.Denial{
		Status: http.StatusBadRequest, Type: TypeKeyMissing, Title: "Idempotency Key Missing", Detail: why,
	})
}

func (f *Filter) denyInvalid(x *exchange.Exchange, why string) exchange.Verdict {
	return f.deny(x, KeyInvalid, exchange.Denial{
		Status: http.StatusBadRequest, Type: TypeKeyInvalid, Title: "Idempotency Key Invalid", Detail: why,
	})
}

func (f *Filter) denyTooLarge(x *exchange.Exchange) exchange.Verdict {
	return f.deny(x, TooLarge, exchange.Denial{
		Status: http.StatusRequestEntityTooLarge, Type: TypeBodyTooLarge, Title: "Body Too Large",
		Detail: fmt.Sprintf("The body is larger than the %d bytes that a request with an idempotency key may have.", f.maxRequest),
	})
}

func (f *Filter) denyUnavailable(x *exchange.Exchange, r ledger.Result) exchange.Verdict {
	return f.deny(x, Unavailable, exchange.Denial{
		Status: http.StatusServiceUnavailable, Type: TypeStoreUnavailable, Title: "Store Unavailable",
		Detail:     "The store of idempotency records does not answer, and nothing was sent to the application; retry with the same key.",
		RetryAfter: max(r.Retry, time.Second),
	})
}

// refuse answers for a record that stands in the way.
func (f *Filter) refuse(x *exchange.Exchange, r ledger.Result) exchange.Verdict {
	d := exchange.Denial{Status: http.StatusConflict}
	result := InProgress
	switch r.Kind {
	case ledger.Mismatch:
		result = Mismatch
		d.Status, d.Type, d.Title = http.StatusUnprocessableEntity, TypeKeyReused, "Idempotency Key Reused"
		d.Detail = "The idempotency key was used for a request that differs from this one; use a new key for a new request."
	case ledger.CredentialsDiffer:
		result = CredentialsDiffer
		d.Type, d.Title = TypeCredentialsDiffer, "Credentials Differ"
		d.Detail = "The idempotency key was used under another Authorization, which may be due to a token that was renewed; what came of that request is not shown."
	case ledger.Unknown:
		result = Unknown
		x.Add(fieldStatus, []byte("unknown"))
		d.Type, d.Title = TypeOutcomeUnknown, "Outcome Unknown"
		d.Detail = "The request with this idempotency key was sent to the application, and whether it was executed is not known; it is not sent again. Ask the application what came of it."
	case ledger.NotRetained:
		result = NotRetained
		d.Type, d.Title = TypeNotRetained, "Response Not Retained"
		d.Detail = "The request with this idempotency key was executed before, and its response was not kept."
		if r.Reply != nil {
			d.Detail = fmt.Sprintf("The request with this idempotency key was executed before, with status %d; its response was not kept.", r.Reply.Status)
			for _, h := range r.Reply.Header {
				if equalFold(h.Name, "location") {
					x.Add("Location", h.Value)
				}
			}
		}
	default:
		d.Type, d.Title = TypeInProgress, "Request In Progress"
		d.Detail = "The request with this idempotency key is in progress; retry with the same key."
		d.RetryAfter = max(r.Retry, time.Second)
	}
	return f.deny(x, result, d)
}

func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
