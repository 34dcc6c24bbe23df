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
	"strconv"
	"syscall"
	"time"
)

const usage = `usage: echo [-listen ADDRESS,…] [-tcp ADDRESS] [-grace DURATION]   serve
       echo get [FLAGS] URL                        send requests, print a JSON line for each answer
       echo dial HOST:PORT TEXT                    print the greeting of a -tcp server and its echo
       echo reach HOST:PORT…                       connect to each and close; fails for one that does not accept
       echo sleep SECONDS                          sleep, or end on SIGTERM
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch command {
	case "get":
		err = get(ctx, args[1:], stdin, stdout, stderr)
	case "dial":
		err = dial(ctx, args[1:], stdout)
	case "reach":
		err = reach(ctx, args[1:])
	case "sleep":
		err = sleep(ctx, args[1:])
	default:
		err = serve(ctx, args, stderr)
	}
	if err == nil {
		return 0
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	fmt.Fprintln(stderr, "echo:", err)
	return 1
}

func sleep(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("sleep for how many seconds?")
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil || seconds < 0 {
		return fmt.Errorf("sleep: %q is not a number of seconds", args[0])
	}
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}
