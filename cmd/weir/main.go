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

// noArgs says what is wrong in the words of the one who typed it: mostly it is a
// second file after one -f.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if c.Flags().Lookup("filename") != nil {
		hint = "; each file has a -f of its own"
	}
	return fmt.Errorf("%q is too much: %s takes flags only%s", args[0], c.CommandPath(), hint)
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
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; `%s --help` lists the flags", err, c.CommandPath())
	})
	c.AddCommand(demoCommand(), runCommand(), compileCommand(), whyCommand(), statusCommand(), checkCommand(), injectCommand(), thriftCommand(), versionCommand())
	return c
}
