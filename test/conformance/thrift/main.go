// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "thrift:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("thrift", flag.ExitOnError)
	dir := flags.String("peers", "", "the `folder` of the peers")
	program := flags.String("weir", "", "the `program` weir")
	full := flags.Bool("full", false, "the whole matrix")
	only := flags.String("only", "", "`languages` to take, such as python,go (default: all that the matrix has)")
	logs := flags.String("logs", "", "a `folder` for the output of clients whose cell differs")
	_ = flags.Parse(args)
	if *dir == "" || *program == "" {
		return fmt.Errorf("--peers and --weir are needed; hack/conformance/thrift.sh makes and names them")
	}
	m := matrix(*full)
	if *only != "" {
		m.languages = strings.Split(*only, ",")
	}
	t := &table{matrix: m, weir: *program, logs: *logs, all: languages(*dir)}
	return t.run(ctx, os.Stdout)
}
