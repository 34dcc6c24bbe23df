// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/spf13/cobra"

	"weir.dev/weir/cmd/weir/internal/kube"
	"weir.dev/weir/cmd/weir/internal/term"
)

func versionCommand() *cobra.Command {
	var flags kube.Flags
	var clientOnly bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program and of the operator",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := term.New(cmd.OutOrStdout())
			p.Printf("client    %s\n", version)
			if clientOnly {
				return nil
			}
			cluster, err := flags.Open()
			var operator string
			if err == nil {
				operator, err = cluster.OperatorVersion(cmd.Context())
			}
			if err != nil {
				operator = "not known: " + err.Error()
			}
			p.Printf("operator  %s\n", operator)
			return nil
		},
	}
	flags.Add(c.Flags())
	c.Flags().BoolVar(&clientOnly, "client", false, "print this program's version only, and ask no cluster")
	return c
}
