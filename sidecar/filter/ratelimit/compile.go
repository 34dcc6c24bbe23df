// SPDX-License-Identifier: Apache-2.0

package ratelimit

import (
	"fmt"
	"regexp"
	"sync/atomic"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/limiter"
	"weir.dev/weir/sidecar/filter/match"
)

// Bounds of a policy, api.md.
const (
	maxLimits = 32
	maxString = 256
	maxName   = 63
)

// nameRE is what limits can be called, up to maxName bytes: safe in fields, keys
// and labels.
var nameRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// Filter enforces one policy. Immutable; safe for concurrent use.
type Filter struct {
	policy string // <namespace>/<name>
	limits []limit
	specs  []keySpec
	closed bool // failurePolicy
	open   bool
	exempt exemptions
	ietf   bool // response.headers
	xrate  bool
	// postpaid: a limit's costs are known with responses. hidden are the fields that say
	// so.
	postpaid bool
	hidden   []string
	answers  answers
	// fields: a limit counts by a field of a call's arguments.
	fields bool
	store  Store
	env    Env
}

var _ exchange.Filter = (*Filter)(nil)

type limit struct {
	name      string
	id        string // <policy>/<limit>
	shadow    bool
	shared    bool
	visible   bool
	match     *match.Matcher
	spec      int
	terms     terms
	overrides []terms // by key
	quoted    string  // its name in RateLimit
	table     Table
	penalty   *limiter.Penalty // may be nil
	bans      Bans
	denials   Denials
	leases    Leases // may be nil
	wouldDeny *atomic.Uint64
	metrics   LimitMetrics
	// costHeader says what a request has cost; empty: none does. byResponse: only it.
	costHeader  string
	byResponse  bool
	freeReplays bool
}

// Compile checks a policy and makes its filter. Errors name the limit and field.
func Compile(p *snapshot.RateLimitPolicy, env Env) (*Filter, error) {
	f := &Filter{policy: env.Namespace + "/" + p.GetName(), env: env, store: env.Store}
	if n := len(p.GetLimits()); n < 1 || n > maxLimits {
		return nil, fmt.Errorf("limits has %d entries, 1 to %d are possible", n, maxLimits)
	}
	switch p.GetFailurePolicy() {
	case snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK:
	case snapshot.FailurePolicy_FAILURE_POLICY_OPEN:
		f.open = true
	case snapshot.FailurePolicy_FAILURE_POLICY_CLOSED:
		f.closed = true
	default:
		return nil, fmt.Errorf("failure_policy %d is unknown", p.GetFailurePolicy())
	}
	switch p.GetHeaders() {
	case snapshot.HeaderStyle_HEADER_STYLE_IETF:
		f.ietf = true
	case snapshot.HeaderStyle_HEADER_STYLE_X_RATE_LIMIT:
		f.xrate = true
	case snapshot.HeaderStyle_HEADER_STYLE_BOTH:
		f.ietf, f.xrate = true, true
	case snapshot.HeaderStyle_HEADER_STYLE_NONE:
	default:
		return nil, fmt.Errorf("headers %d is unknown", p.GetHeaders())
	}
	var err error
	if f.exempt, err = compileExempt(p.GetExempt()); err != nil {
		return nil, err
	}
	if f.answers, err = compileAnswers(p.GetThrift()); err != nil {
		return nil, err
	}
	specs := map[string]int{}
	names := map[string]bool{}
	for i, l := range p.GetLimits() {
		if names[l.GetName()] {
			return nil, fmt.Errorf("limits[%d]: the name %q comes twice", i, l.GetName())
		}
		names[l.GetName()] = true
		c, err := f.compileLimit(p, l, specs)
		if err != nil {
			return nil, fmt.Errorf("limits[%d] %q: %w", i, l.GetName(), err)
		}
		f.hide(&c)
		f.limits = append(f.limits, c)
	}
	return f, nil
}

func (f *Filter) compileLimit(p *snapshot.RateLimitPolicy, l *snapshot.Limit, specs map[string]int) (limit, error) {
	if len(l.GetName()) > maxName || !nameRE.MatchString(l.GetName()) {
		return limit{}, fmt.Errorf("the name is not lower case letters, digits and -, at most 63")
	}
	c := limit{
		name:    l.GetName(),
		id:      p.GetName() + "/" + l.GetName(),
		shadow:  l.GetShadow(),
		visible: (f.ietf || f.xrate) && !l.GetShadow() && !l.GetHideHeaders(),
		quoted:  `"` + l.GetName() + `"`,
	}
	switch l.GetScope() {
	case snapshot.Scope_SCOPE_POD:
	case snapshot.Scope_SCOPE_CLUSTER:
		c.shared = f.store != nil
	default:
		return limit{}, fmt.Errorf("scope %d is unknown", l.GetScope())
	}
	calendar, err := compileCalendar(l)
	if err != nil {
		return limit{}, err
	}
	if err = c.compileCosts(l); err != nil {
		return limit{}, err
	}
	if c.terms, err = makeTerms(l, calendar, l.GetLimit(), l.GetBurst()); err != nil {
		return limit{}, err
	}
	if c.match, err = match.Compile(l.GetMatch()); err != nil {
		return limit{}, err
	}
	if c.spec, err = f.compileKey(p.GetName(), l, c.match, specs); err != nil {
		return limit{}, err
	}
	if c.overrides, err = compileOverrides(l, calendar, &f.specs[c.spec]); err != nil {
		return limit{}, err
	}
	if p := l.GetPenalty(); p != nil {
		penalty, err := limiter.NewPenalty(p.GetDenials(), p.GetWithinSeconds(), p.GetBanSeconds())
		if err != nil {
			return limit{}, fmt.Errorf("penalty: %w", err)
		}
		c.penalty, c.bans = &penalty, f.env.Bans(c.id)
	}
	if c.shared {
		c.denials = f.env.Denials(c.id)
		if c.terms.rule.IsLeased() {
			c.leases = f.env.Leases(c.id)
		}
	}
	c.table = f.env.Table(c.id)
	c.wouldDeny = f.env.WouldDeny(c.id)
	if f.env.Metrics != nil {
		c.metrics = f.env.Metrics.Limit(p.GetName(), c.name)
	}
	return c, nil
}

func algorithm(a snapshot.Algorithm) (limiter.Algorithm, error) {
	switch a {
	case snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW:
		return limiter.SlidingWindow, nil
	case snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET:
		return limiter.TokenBucket, nil
	case snapshot.Algorithm_ALGORITHM_FIXED_WINDOW:
		return limiter.FixedWindow, nil
	case snapshot.Algorithm_ALGORITHM_CONCURRENCY:
		return limiter.Concurrency, nil
	default:
		return 0, fmt.Errorf("algorithm %d is unknown", a)
	}
}
