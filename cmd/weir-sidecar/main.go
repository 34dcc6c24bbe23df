// SPDX-License-Identifier: Apache-2.0

// Command weir-sidecar is Weir's data plane: the container that is injected into
// pods (proxy), the init container that redirects traffic to it (capture), a proxy
// that serves one compiled snapshot without an operator (--snapshot), and the rate
// limit service of gateways (rls).
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"

	"weir.dev/weir/sidecar/store/redis"
)

// version is set by the linker.
var version = "dev"

func main() {
	level := &slog.LevelVar{}
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level}))
	// What gRPC has to say reaches our log as errors of its calls.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	redis.LogTo(log)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := rootCommand(log, level).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "weir-sidecar:", err)
		os.Exit(1)
	}
}

func rootCommand(log *slog.Logger, level *slog.LevelVar) *cobra.Command {
	var f bareFlags
	root := &cobra.Command{
		Use:   "weir-sidecar",
		Short: "Weir's data plane",
		Long: `Without a command or flags it is the proxy of an injected pod, as under proxy.

With --snapshot it serves a file that weir compile has made, with no operator:

  weir compile -f policy.yaml -o snapshot.json
  weir-sidecar --snapshot snapshot.json \
    --listener name=payments/http,listen=127.0.0.1:8080,upstream=127.0.0.1:9000`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.given() {
				return f.run(cmd.Context(), log, level)
			}
			return proxy(cmd.Context(), log, level, os.Getenv)
		},
	}
	f.register(root)
	root.AddCommand(proxyCommand(log, level), rlsCommand(log, level), captureCommand(), drainCommand(),
		logLevelCommand(), dumpCommand(), versionCommand())
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	}
}
