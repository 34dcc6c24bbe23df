// SPDX-License-Identifier: Apache-2.0

package exchange

// Chain is the filters of one port in the order of design: rate limits first.
// The codec drives it: Head once, Body when Head said NeedBody, ResponseHead
// when the application answered, End always.
type Chain []Filter

// Progress is how far an exchange came through a chain. The zero value is the
// start.
type Progress struct {
	next    int
	started int
	waiting bool
}

// Head runs filters from where the exchange stands until one does not say
// Continue. On NeedBody the codec reads up to MaxBody bytes into x.Body, calls
// Body and goes on from its verdict.
func (c Chain) Head(x *Exchange, p *Progress) Verdict {
	for p.next < len(c) {
		f := c[p.next]
		p.started = p.next + 1
		switch f.Head(x) {
		case Respond:
			return Respond
		case NeedBody:
			p.waiting = true
			return NeedBody
		case Continue:
			p.next++
		}
	}
	return Continue
}

// MaxBody is the bound of the filter that said NeedBody.
func (c Chain) MaxBody(p *Progress) int {
	if !p.waiting {
		return 0
	}
	return c[p.next].MaxBody()
}

// Body gives the body to the filter that asked for it and goes on with the
// filters after it.
func (c Chain) Body(x *Exchange, p *Progress) Verdict {
	if !p.waiting {
		return c.Head(x, p)
	}
	p.waiting = false
	if v := c[p.next].Body(x); v == Respond {
		return Respond
	}
	p.next++
	return c.Head(x, p)
}

// ResponseHead tells every filter that let the request pass of the response.
func (c Chain) ResponseHead(x *Exchange) {
	for i := len(c) - 1; i >= 0; i-- {
		c[i].ResponseHead(x)
	}
}

// End tells each filter whose Head was called how the exchange ended.
func (c Chain) End(x *Exchange, p *Progress, outcome Outcome) {
	for i := p.started - 1; i >= 0; i-- {
		c[i].End(x, outcome)
	}
	*p = Progress{}
}
