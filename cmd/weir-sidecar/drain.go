// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"

	"github.com/spf13/cobra"
)

func drainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Tell the sidecar of this pod that the pod is ending (preStop)",
		Long: `Drain makes the sidecar not ready and has it close connections after their next
answer. It waits for nothing, and traffic is served on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return drain(cmd.Context(), localAdmin())
		},
	}
}

func drain(ctx context.Context, address string) error {
	return ask(ctx, http.MethodPost, address, "/drain", io.Discard)
}
