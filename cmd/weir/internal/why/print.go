// SPDX-License-Identifier: Apache-2.0

package why

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"weir.dev/weir/cmd/weir/internal/term"
)

// Print writes the answer for people.
func (a *Answer) Print(w io.Writer) {
	p := term.New(w)
	assumed := ""
	if a.Assumed {
		assumed = p.Faint(" (assumed: --client-ip or --peer says another)")
	}
	client := a.Client
	if a.Client != a.Peer {
		client += ", through " + a.Peer
	}
	at := a.Port
	if a.Protocol != "" {
		at += " (" + a.Protocol + ")"
	}
	p.Printf("%s at %s, from %s%s\n", a.Request, at, client, assumed)
	p.Printf("%s\n", a.Source)
	switch {
	case a.Policy == "" && a.Idempotency == nil:
		p.Printf("No policy governs the port: everything passes.\n")
		a.printNotes(p)
		return
	case a.Policy == "":
		p.Printf("No RateLimitPolicy governs the port.\n")
	default:
		p.Printf("Governed by RateLimitPolicy %s\n", a.Policy)
		printPods(p, a.Pods)
	}
	for _, matches := range []bool{true, false} {
		for i := range a.Limits {
			if l := &a.Limits[i]; l.Matches == matches {
				a.printLimit(p, l)
			}
		}
	}
	a.printIdempotency(p)
	p.Printf("\n")
	a.printDecision(p)
	a.printNotes(p)
}

func printPods(p *term.Printer, pods []Pod) {
	if len(pods) == 0 {
		return
	}
	current := 0
	for _, pod := range pods {
		if pod.Current {
			current++
		}
	}
	p.Printf("%d of %d pods enforce it as explained here\n", current, len(pods))
	for _, pod := range pods {
		switch {
		case pod.Current:
		case pod.Generation == 0:
			p.Printf("%s pod %s does not enforce it\n", p.Warn("!"), pod.Name)
		default:
			p.Printf("%s pod %s enforces another version of it: generation %d\n", p.Warn("!"), pod.Name, pod.Generation)
		}
	}
}

func (a *Answer) printNotes(p *term.Printer) {
	for _, n := range a.Notes {
		p.Printf("%s %s\n", p.Warn("!"), n)
	}
}

func (a *Answer) printLimit(p *term.Printer, l *Limit) {
	name := "limit " + l.Name
	if l.Mode == "Shadow" {
		name += " (Shadow)"
	}
	if !l.Matches {
		p.Printf("\n%s\n", p.Faint(name+" does not match"))
		for _, m := range l.Misses {
			p.Printf("  %s\n", p.Faint(m.Entry+": "+m.Why))
		}
		return
	}
	p.Heading(name)
	row := func(what, format string, args ...any) { p.Printf("  %-8s %s\n", what, fmt.Sprintf(format, args...)) }
	row("match", "%s", cmp.Or(l.Entry, "everything"))
	for i, m := range l.keyLines() {
		row([]string{"key", ""}[min(i, 1)], "%s", m)
	}
	if l.MissingKey == "Skip" || l.MissingKey == "Deny" {
		return
	}
	allows := l.terms()
	if l.Override {
		allows += ", by the override of this key"
	}
	row("allows", "%s", allows)
	switch d := l.Decision; {
	case l.Unlimited:
	case a.Exempt != "":
		row("decides", "nothing: the request is exempt")
	case d == nil:
		row("decides", "nothing: it was not asked")
	default:
		paint := p.Good
		if d.Outcome != Allowed {
			paint = p.Bad
		}
		left := fmt.Sprintf("%d left", d.Remaining)
		if d.Seconds > 0 {
			left += fmt.Sprintf(", t=%d", d.Seconds)
		}
		row("decides", "%s; %s", paint(d.Outcome), left)
	}
}

func (l *Limit) keyLines() []string {
	if len(l.Key) == 0 {
		return []string{"none: one count for all"}
	}
	var out []string
	for _, m := range l.Key {
		switch {
		case m.Missing == "":
			out = append(out, fmt.Sprintf("%s: %s", m.Member, m.Value))
		case l.MissingKey == "Skip":
			out = append(out, fmt.Sprintf("%s: %s; onMissingKey Skip: the limit does not hold for the request", m.Member, m.Missing))
		case l.MissingKey == "Deny":
			out = append(out, fmt.Sprintf("%s: %s; onMissingKey Deny: answered with 400", m.Member, m.Missing))
		default:
			out = append(out, fmt.Sprintf("%s: %s; counted by the client's address in its place: %s", m.Member, m.Missing, m.Value))
		}
	}
	return out
}

// terms are what the limit allows, in words.
func (l *Limit) terms() string {
	switch {
	case l.Unlimited:
		return "everything, uncounted"
	case l.Window == "":
		return fmt.Sprintf("%d at once, %s, scope %s", l.Limit, l.Algorithm, l.Scope)
	}
	out := fmt.Sprintf("%d per %s, %s", l.Limit, l.Window, l.Algorithm)
	if l.Burst > 0 {
		out += fmt.Sprintf(" with bursts of %d", l.Burst)
	}
	if l.Cost > 1 {
		out += fmt.Sprintf(", of which a request takes %d", l.Cost)
	}
	out += ", scope " + l.Scope
	if l.Accuracy == "Leased" {
		out += ", leased"
	}
	return out
}

func (a *Answer) printDecision(p *term.Printer) {
	which := "A first request, with nothing counted yet,"
	if a.Count > 1 {
		which = fmt.Sprintf("The last of %d such requests at once, with nothing counted yet,", a.Count)
	}
	switch {
	case a.Decision == Refused:
		p.Printf("The proxy refuses the request before a policy is asked:\n\n")
	case a.Exempt != "":
		p.Printf("The request is exempt, neither counted nor limited: %s.\n", a.Exempt)
	case a.Decision == Denied:
		p.Printf("%s is %s:\n\n", which, p.Bad("denied"))
	case !slices.ContainsFunc(a.Limits, func(l Limit) bool { return l.Decision != nil }) && (a.Idempotency == nil || !a.Idempotency.Matches):
		p.Printf("No limit holds for the request: it passes.\n")
	case len(a.Response.Fields) == 0:
		p.Printf("%s %s; Weir adds nothing to the response.\n", which, p.Good("passes"))
	default:
		p.Printf("%s %s; Weir adds to the response:\n\n", which, p.Good("passes"))
	}
	if a.Decision != Allowed {
		p.Printf("%s %d %s\n", a.Response.proto, a.Response.Status, http.StatusText(a.Response.Status))
	}
	for _, f := range a.Response.Fields {
		p.Printf("%s: %s\n", f.Name, f.Value)
	}
	if a.Response.Body != "" {
		p.Printf("\n%s\n", strings.TrimSpace(a.Response.Body))
	}
}
