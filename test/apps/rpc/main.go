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
)

const usage = `usage: rpc [-grpc ADDRESS] [-http ADDRESS]        serve
       rpc interop HOST:PORT [CASE…]               run gRPC's interoperability cases
       rpc call [FLAGS] HOST:PORT                  make unary calls, print a JSON line for each
       rpc stream [FLAGS] HOST:PORT                keep a bidirectional stream, print a JSON line
       rpc ws [FLAGS] URL                          echo messages over WebSocket, print a JSON line
       rpc events [FLAGS] URL                      read Server-Sent Events, print a JSON line for each
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
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
	case "stream":
		err = stream(ctx, rest, stdout, stderr)
	case "ws":
		err = ws(ctx, rest, stdout, stderr)
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
