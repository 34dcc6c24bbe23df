// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/sidecar/capture"
)

func captureCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "capture",
		Short: "Redirect the pod's incoming traffic to the sidecar (init container)",
		Long: `Capture sets nftables rules in the pod's network namespace, for which it needs
NET_ADMIN, and ends. WEIR_EXCLUDE_PORTS are ports to leave alone, with commas.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			exclude, err := parsePorts(os.Getenv(podspec.EnvExcludePorts))
			if err != nil {
				return err
			}
			return capture.Apply(capture.Config{Exclude: exclude})
		},
	}
}

func parsePorts(s string) ([]uint16, error) {
	if s == "" {
		return nil, nil
	}
	var out []uint16
	for part := range strings.SplitSeq(s, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(part), 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%s: %q is not a port between 1 and 65535", podspec.EnvExcludePorts, part)
		}
		out = append(out, uint16(n))
	}
	return out, nil
}
