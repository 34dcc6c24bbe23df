// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const usage = `usage: rpc [-grpc ADDRESS] [-http ADDRESS]        serve
       rpc interop HOST:PORT [CASE…]               run gRPC's interoperability cases
       rpc call [FLAGS] HOST:PORT                  make unary calls, print a JSON line for each
       rpc limit [FLAGS] DOMAIN HOST:PORT          ask a rate limit service of Envoy's protocol, print JSON lines
       rpc stream [FLAGS] HOST:PORT                keep a bidirectional stream, print a JSON line
       rpc ws [FLAGS] URL                          echo messages over WebSocket, print a JSON line
       rpc events [FLAGS] URL                      read Server-Sent Events, print a JSON line for each
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command, rest := "", args
	if len(args) > 0 {
		command, rest = args[0], args[1:]
	}
	var err error
	switch command {
	case "interop":
		err = interoperate(ctx, rest, stdout)
	case "call":
		err = call(ctx, rest, stdout, stderr)
	case "limit":
		err = limits(ctx, rest, stdout, stderr)
	case "stream":
		err = stream(ctx, rest, stdin, stdout, stderr)
	case "ws":
		err = ws(ctx, rest, stdin, stdout, stderr)
	case "events":
		err = events(ctx, rest, stdout, stderr)
	default:
		err = serve(ctx, args, stderr)
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	fmt.Fprintln(stderr, "rpc:", err)
	return 1
}

// messages is how many a stream has: n, or with untilEOF as many as go until
// standard input ends.
type messages struct {
	n     int
	every time.Duration // pause after each
	eof   bool
	ended chan struct{}
}

// flags adds -n, -every and -until-eof.
func (m *messages) flags(fs *flag.FlagSet) {
	fs.IntVar(&m.n, "n", 1, "how many messages, each after the answer to the one before")
	fs.DurationVar(&m.every, "every", 0, "pause after each")
	fs.BoolVar(&m.eof, "until-eof", false, "go on until standard input ends instead of -n messages")
}

// begin is called once, before the first message.
func (m *messages) begin(stdin io.Reader) {
	m.ended = make(chan struct{})
	if m.eof {
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // an error is an end too
			close(m.ended)
		}()
	}
}

// more reports whether there is one after so many.
func (m *messages) more(sent int) bool {
	select {
	case <-m.ended:
		return false
	default:
		return m.eof || sent < m.n
	}
}
