// SPDX-License-Identifier: Apache-2.0

package why

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/cmd/weir/internal/term"
)

// What an IdempotencyPolicy makes of a request that it matches.
const (
	// Executed: it goes on to the application and is recorded.
	Executed = "executed"
	// Ignored: it passes unrecorded.
	Ignored = "ignored"
	// NotAsked: another has answered before.
	NotAsked = "not asked"
)

// Idempotency is what an IdempotencyPolicy makes of the request, as the first with its
// key.
type Idempotency struct {
	Policy string `json:"policy"`
	Mode   string `json:"mode"`
	// Matches, Entry and Misses are as those of a limit.
	Matches bool     `json:"matches"`
	Entry   string   `json:"entry,omitempty"`
	Misses  []Miss   `json:"misses,omitempty"`
	Scope   []Member `json:"scope,omitempty"`
	Key     *Member  `json:"key,omitempty"`
	// Derived: the key is made of content.
	Derived bool `json:"derived,omitempty"`
	// Decision is executed, ignored, refused or not asked; Why it is ignored.
	Decision string `json:"decision,omitempty"`
	Why      string `json:"why,omitempty"`
	// Kept is how long an answer is given again.
	Kept string `json:"kept,omitempty"`
	// Pods are what the pods have of it.
	Pods []Pod `json:"pods,omitempty"`
}

func viewIdempotency(name string, p *snapshot.IdempotencyPolicy, a *asked) *Idempotency {
	out := &Idempotency{Policy: name, Mode: "Enforce", Decision: NotAsked}
	if p.GetShadow() {
		out.Mode = "Shadow"
	}
	e := a.recorded
	if e == nil {
		return out
	}
	out.Matches, out.Entry, out.Derived, out.Decision = e.Covers, e.Entry, e.Derived, ""
	for _, m := range e.Misses {
		out.Misses = append(out.Misses, Miss{m.Entry, m.Why})
	}
	if !e.Covers {
		return out
	}
	for _, m := range e.Scope {
		out.Scope = append(out.Scope, Member{m.Member, m.Value, m.Missing})
		if m.Missing != "" {
			out.Why = fmt.Sprintf("%s is %s", m.Member, m.Missing)
		}
	}
	if e.Key.Member != "" {
		out.Key = &Member{e.Key.Member, e.Key.Value, e.Key.Missing}
		if e.Key.Missing != "" {
			out.Why = fmt.Sprintf("%s is %s", e.Key.Member, e.Key.Missing)
		}
	}
	if e.InBody {
		out.Key.Missing = "in the body, which is not sent here"
		out.Why = "the key may be in the body, and none is sent here"
	}
	out.Why = cmp.Or(e.Passes, out.Why)
	switch {
	case !a.passed:
		out.Decision, out.Why = Refused, ""
	case out.Why != "":
		out.Decision = Ignored
	default:
		out.Decision = Executed
		out.Kept = kept(p.GetRetention())
		if e.Derived {
			out.Kept = kept(p.GetDeriveWindow())
		}
	}
	return out
}

// kept is a time in words.
func kept(milliseconds uint64) string {
	s := (time.Duration(milliseconds) * time.Millisecond).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if rest, found := strings.CutSuffix(s, zero); found {
			s = rest + zero[:1]
		}
	}
	return s
}

func (a *Answer) printIdempotency(p *term.Printer) {
	i := a.Idempotency
	if i == nil {
		return
	}
	name := "IdempotencyPolicy " + i.Policy
	if i.Mode == "Shadow" {
		name += " (Shadow)"
	}
	if i.Decision != NotAsked && !i.Matches {
		p.Printf("\n%s\n", p.Faint(name+" does not match"))
		for _, m := range i.Misses {
			p.Printf("  %s\n", p.Faint(m.Entry+": "+m.Why))
		}
		return
	}
	p.Heading(name)
	printPods(p, i.Pods)
	row := func(what, format string, args ...any) { p.Printf("  %-8s %s\n", what, fmt.Sprintf(format, args...)) }
	if i.Decision == NotAsked {
		row("decides", "nothing: it was not asked")
		return
	}
	row("match", "%s", cmp.Or(i.Entry, "everything"))
	for n, m := range i.Scope {
		row([]string{"scope", ""}[min(n, 1)], "%s: %s", m.Member, cmp.Or(m.Missing, m.Value))
	}
	if k := i.Key; k != nil {
		what := "key"
		if i.Derived {
			what = "derives"
		}
		row(what, "%s: %s", k.Member, cmp.Or(k.Missing, k.Value))
	}
	switch {
	case i.Decision == Executed && i.Mode == "Shadow":
		row("decides", "%s; Shadow counts that a retry within %s would be answered alike, and lets it pass", p.Good(i.Decision), i.Kept)
	case i.Decision == Executed:
		row("decides", "%s, and recorded: a retry within %s is answered alike", p.Good(i.Decision), i.Kept)
	case i.Decision == Ignored:
		row("decides", "%s, and passes unrecorded: %s", p.Warn(i.Decision), i.Why)
	default:
		row("decides", "%s, as below", p.Bad(i.Decision))
	}
}
