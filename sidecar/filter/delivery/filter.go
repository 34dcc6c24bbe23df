// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/nskey"
)

// Filter looks for the field in each request. Immutable; safe for concurrent use.
type Filter struct {
	keys *nskey.Ring
	now  func() time.Time
}

var _ exchange.Filter = (*Filter)(nil)

// New returns a filter by keys, which may hold none yet: then no field is valid.
func New(keys *nskey.Ring, now func() time.Time) *Filter { return &Filter{keys: keys, now: now} }

// Head sets x.Delivery, or takes the field away. The application gets a valid field in
// one spelling: the client may have sent others beside it.
func (f *Filter) Head(x *exchange.Exchange) exchange.Verdict {
	field, count := x.Request.Header(Field)
	if count != 1 {
		x.SetUpstream(Field, nil)
		return exchange.Continue
	}
	d, err := f.verify(field)
	if err != nil {
		x.SetUpstream(Field, nil)
		return exchange.Continue
	}
	x.Delivery = &d
	x.SetUpstream(Field, field)
	return exchange.Continue
}

func (f *Filter) verify(field []byte) (exchange.Delivery, error) {
	pair := f.keys.Load()
	if pair == nil {
		return exchange.Delivery{}, ErrField
	}
	if pair.Previous == nil {
		return Verify(field, f.now(), pair.Current.Delivery[:])
	}
	return Verify(field, f.now(), pair.Current.Delivery[:], pair.Previous.Delivery[:])
}

// MaxBody is 0: no body is read.
func (f *Filter) MaxBody() int { return 0 }

// Body is never called.
func (f *Filter) Body(*exchange.Exchange) exchange.Verdict { return exchange.Continue }

// ResponseHead has nothing to do.
func (f *Filter) ResponseHead(*exchange.Exchange) {}

// End has nothing to do.
func (f *Filter) End(*exchange.Exchange, exchange.Outcome) {}
