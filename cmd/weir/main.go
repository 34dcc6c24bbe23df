// SPDX-License-Identifier: Apache-2.0

// Command weir (installed as kubectl-weir too) is Weir for people: it shows what
// is enforced where, checks an installation, injects manifests, and runs the
// same policies without a cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		stop()
		os.Exit(1)
	}
}

func root() *cobra.Command {
	use := "weir"
	if strings.HasPrefix(filepath.Base(os.Args[0]), "kubectl-") {
		use = "kubectl weir"
	}
	c := &cobra.Command{
		Use:           "weir",
		Short:         "Rate limits for any application, by one kubectl apply",
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: use},
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	c.AddCommand(demoCommand(), runCommand(), compileCommand(), statusCommand(), checkCommand(), injectCommand())
	return c
}
