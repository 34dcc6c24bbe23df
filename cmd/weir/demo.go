// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/cmd/weir/internal/tour"
	"weir.dev/weir/config/samples"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "A guided tour in this process: no cluster, no Redis",
		Long: `Demo starts a shop and a sidecar in this process, applies the sample policy,
sends requests and shows what happens. On a terminal it waits for Enter between
the parts; without one it never waits.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

// part is one stop of the tour.
type part struct {
	title, text string
	do          func(context.Context, *tour.Shop, *term.Printer) error
}

func runDemo(ctx context.Context, in io.Reader, out io.Writer) error {
	p := term.New(out)
	shop, err := tour.Open(ctx)
	if err != nil {
		return err
	}
	defer shop.Close()
	p.Printf("A shop listens on %s and knows nothing of Weir. A sidecar listens on %s before it.\n", shop.Upstream, shop.Address)
	stops := parts()
	keys := bufio.NewReader(in)
	for i, stop := range stops {
		p.Heading(fmt.Sprintf("%d/%d  %s", i+1, len(stops), stop.title))
		p.Printf("%s\n\n", stop.text)
		if err := stop.do(ctx, shop, p); err != nil {
			return err
		}
		if term.Interactive(in) && i < len(stops)-1 {
			p.Printf("\n%s", p.Faint("Enter goes on "))
			if !enter(ctx, keys) {
				p.Printf("\n")
				return nil
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	p.Heading("Next")
	p.Printf(`The same before an application of your own on port 9000; it follows the file while you edit it:
  go run ./cmd/weir run -f config/samples/ratelimitpolicy.yaml \
    --listener name=payments/http,listen=127.0.0.1:8080,upstream=127.0.0.1:9000
The same on real pods, on a one-node Kubernetes (Linux, root):
  make demo
`)
	return nil
}

// enter waits for a line, and not when ctx ends or nothing more can come.
func enter(ctx context.Context, keys *bufio.Reader) bool {
	read := make(chan error, 1)
	go func() {
		_, err := keys.ReadString('\n')
		read <- err
	}()
	select {
	case err := <-read:
		return err == nil
	case <-ctx.Done():
		return false
	}
}

func parts() []part {
	sample := string(bytes.TrimSpace(samples.RateLimitPolicy))
	return []part{
		{"Without a policy", "Everything passes.", pay("alice", 3)},
		{"kubectl apply -f config/samples/ratelimitpolicy.yaml", sample, apply(sample)},
		{"One client", "Five payments of alice pass, with RateLimit fields that say what is left. The others are told when to come back.", pay("alice", 7)},
		{"Another client", "bob has a count of his own.", pay("bob", 2)},
		{"What a limited client is told", "RFC 9457 problem details, in the types of the RateLimit draft.", problem("alice")},
		{"An edit", "The limit becomes 8. Nothing is restarted and nothing is forgotten: alice has three more.", edit(sample, "limit: 5", "limit: 8", "alice", 4)},
		{"Shadow", "mode: Shadow counts and reports what it would deny, and denies nothing.", edit(sample, "targetRefs:", "mode: Shadow\n  targetRefs:", "alice", 3)},
		{"A mistake", "What the API server would refuse is refused here too, with the field's path; the policy before goes on.", mistake(strings.Replace(sample, "limit: 5", "limit: five", 1))},
		{"The shop is gone", "An upstream that can't be reached is a 502 of the sidecar's own.", gone("carol")},
	}
}

func pay(client string, n int) func(context.Context, *tour.Shop, *term.Printer) error {
	return func(ctx context.Context, s *tour.Shop, p *term.Printer) error {
		var rows [][]string
		for i := range n {
			a, err := s.Pay(ctx, client)
			if err != nil {
				return err
			}
			rows = append(rows, []string{fmt.Sprint(i + 1), client, fmt.Sprint(a.Status), a.Header.Get("RateLimit"), a.Header.Get("Retry-After")})
		}
		p.Table([]string{"#", "CLIENT", "STATUS", "RATELIMIT", "RETRY-AFTER"}, rows)
		return nil
	}
}

func apply(policy string) func(context.Context, *tour.Shop, *term.Printer) error {
	return func(ctx context.Context, s *tour.Shop, p *term.Printer) error {
		warning, err := s.Apply(ctx, []byte(policy))
		if err != nil {
			return err
		}
		p.Printf("%s The policy is accepted.\n", p.Good("ok"))
		if warning != "" {
			p.Printf("%s %s\n", p.Warn("!"), warning)
		}
		return nil
	}
}

func edit(sample, from, to, client string, n int) func(context.Context, *tour.Shop, *term.Printer) error {
	return func(ctx context.Context, s *tour.Shop, p *term.Printer) error {
		// The warning was shown when the policy was applied first.
		if _, err := s.Apply(ctx, []byte(strings.Replace(sample, from, to, 1))); err != nil {
			return err
		}
		p.Printf("%s The policy is accepted.\n\n", p.Good("ok"))
		if err := pay(client, n)(ctx, s, p); err != nil {
			return err
		}
		for _, c := range s.Shadow() {
			p.Printf("limit %s would have denied %d\n", c.GetLimit(), c.GetWouldDeny())
		}
		return nil
	}
}

func mistake(policy string) func(context.Context, *tour.Shop, *term.Printer) error {
	return func(ctx context.Context, s *tour.Shop, p *term.Printer) error {
		_, err := s.Apply(ctx, []byte(policy))
		if err == nil {
			return fmt.Errorf("a malformed policy was accepted")
		}
		p.Printf("%s %v\n", p.Bad("refused"), err)
		return nil
	}
}

func problem(client string) func(context.Context, *tour.Shop, *term.Printer) error {
	return func(ctx context.Context, s *tour.Shop, p *term.Printer) error {
		a, err := s.Pay(ctx, client)
		if err != nil {
			return err
		}
		p.Printf("HTTP/1.1 %d\n", a.Status)
		for _, name := range []string{"Retry-After", "RateLimit-Policy", "RateLimit", "Cache-Control", "Content-Type"} {
			if v := a.Header.Get(name); v != "" {
				p.Printf("%s: %s\n", name, v)
			}
		}
		p.Printf("\n%s\n", bytes.TrimSpace(a.Body))
		return nil
	}
}

func gone(client string) func(context.Context, *tour.Shop, *term.Printer) error {
	return func(ctx context.Context, s *tour.Shop, p *term.Printer) error {
		s.StopUpstream()
		return problem(client)(ctx, s, p)
	}
}
