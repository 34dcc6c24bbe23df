// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"fmt"
	"math"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
)

// maxArgs is how long the arguments of a call may be of which a limit counts by a field.
// Beyond it the field is doubtful.
const maxArgs = 1 << 20

// maxOneway bounds response.thrift.onewayMethods, api.md.
const maxOneway = 64

var _ exchange.Oversizer = (*Filter)(nil)

// answers say how calls of Thrift are denied.
type answers struct {
	code   int32
	field  int16
	oneway map[string]bool
}

func compileAnswers(t *snapshot.ThriftAnswers) (answers, error) {
	out := answers{code: t.GetExceptionCode(), field: int16(t.GetExceptionField())}
	switch {
	case t.GetExceptionCode() < 0:
		return out, fmt.Errorf("thrift.exception_code %d is below 0", t.GetExceptionCode())
	case t.GetExceptionField() < 0 || t.GetExceptionField() > math.MaxInt16:
		return out, fmt.Errorf("thrift.exception_field %d is not between 0 and %d", t.GetExceptionField(), math.MaxInt16)
	case len(t.GetOnewayMethods()) > maxOneway:
		return out, fmt.Errorf("thrift.oneway_methods has %d entries, at most %d are possible", len(t.GetOnewayMethods()), maxOneway)
	}
	for _, m := range t.GetOnewayMethods() {
		if out.oneway == nil {
			out.oneway = map[string]bool{}
		}
		out.oneway[m] = true
	}
	return out, nil
}

// markOneway says of calls of methods that nothing may answer that this is so.
func (f *Filter) markOneway(c *exchange.Call) {
	if f.answers.oneway[string(c.Method)] {
		c.Oneway = true
	}
}

// needsArgs reports whether a limit that holds counts by a field of the arguments. They
// are read whole: a field may come again at the end, and applications take the last.
func (f *Filter) needsArgs(x *exchange.Exchange, s *scratch) bool {
	if !f.fields || x.Body != nil {
		return false
	}
	for i := range f.limits {
		l := &f.limits[i]
		if !f.specs[l.spec].fields {
			continue
		}
		if _, ok := l.match.Match(x, &s.params); ok {
			return true
		}
	}
	return false
}

// deny answers with d, to calls of Thrift as the policy says.
func (f *Filter) deny(x *exchange.Exchange, d exchange.Denial) {
	if x.Call != nil {
		x.Call.ExceptionCode, x.Call.ExceptionField = f.answers.code, f.answers.field
	}
	x.Deny(d)
}

// MaxBody is what is read of the arguments of calls; limits read no other bodies.
func (f *Filter) MaxBody() int { return maxArgs }

// Body decides on a call whose arguments are there.
func (f *Filter) Body(x *exchange.Exchange) exchange.Verdict { return f.decide(x, f.scratch(x)) }

// Oversize decides on a call whose arguments are too long to be looked at.
func (f *Filter) Oversize(x *exchange.Exchange) exchange.Verdict { return f.decide(x, f.scratch(x)) }
