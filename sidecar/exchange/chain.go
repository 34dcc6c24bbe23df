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

// Oversize tells the filter that asked for the body that it is larger than MaxBody,
// and goes on with the filters after it. asked is false when it has no say: 413.
func (c Chain) Oversize(x *Exchange, p *Progress) (v Verdict, asked bool) {
	if !p.waiting {
		return Continue, false
	}
	f, ok := c[p.next].(Oversizer)
	if !ok {
		return Respond, false
	}
	p.waiting = false
	if v := f.Oversize(x); v == Respond {
		return Respond, true
	}
	p.next++
	return c.Head(x, p), true
}

// ResponseBody shows a piece of the response to recorders. Only for exchanges with
// Record set.
func (c Chain) ResponseBody(x *Exchange, b []byte) {
	for i := len(c) - 1; i >= 0; i-- {
		if r, ok := c[i].(Recorder); ok {
			r.ResponseBody(x, b)
		}
	}
}

// ResponseEnd tells recorders that the response is whole; false: the client must not
// get its end.
func (c Chain) ResponseEnd(x *Exchange) bool {
	whole := true
	for i := len(c) - 1; i >= 0; i-- {
		if r, ok := c[i].(Recorder); ok {
			whole = r.ResponseEnd(x) && whole
		}
	}
	return whole
}

// Overdue tells recorders that the application has not answered in time.
func (c Chain) Overdue(x *Exchange) {
	for i := len(c) - 1; i >= 0; i-- {
		if r, ok := c[i].(Recorder); ok {
			r.Overdue(x)
		}
	}
}

// Unanswered tells filters that the proxy is about to answer in place of an application
// that may have got the request.
func (c Chain) Unanswered(x *Exchange) {
	for i := len(c) - 1; i >= 0; i-- {
		if w, ok := c[i].(Wonderer); ok {
			w.Unanswered(x)
		}
	}
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
