// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench-idempotency: CPU time comes from /proc, and cores from taskset: run this on Linux.")
	os.Exit(1)
}
