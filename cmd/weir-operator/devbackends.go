// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weir.dev/weir/controllers/devbackends"
)

func devBackendsCommand() *cobra.Command {
	var redis string
	c := &cobra.Command{
		Use:   "dev-backends",
		Short: "A Redis in one process, for trials; never for production",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return devbackends.Redis(cmd.Context(), redis, func(addr string) {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "redis on %s\n", addr)
			})
		},
	}
	c.Flags().StringVar(&redis, "redis-address", ":6379", "address of the Redis")
	return c
}
