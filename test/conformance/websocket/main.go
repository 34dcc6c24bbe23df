// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 2 {
		switch args[0] {
		case "serve":
			return serve(args[1])
		case "compare":
			return compareFile(args[1], os.Stdout)
		}
	}
	return fmt.Errorf("usage: websocket serve HOST:PORT | websocket compare REPORT/index.json")
}
