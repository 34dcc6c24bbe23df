// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/podspec"
)

func drainCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Tell the sidecar of this pod that the pod is ending (preStop)",
		Long: `Drain makes the sidecar not ready and has it close connections after their next
answer. It waits for nothing, and traffic is served on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return drain(cmd.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(podspec.PortAdmin)))
		},
	}
}

func drain(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/drain", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return fmt.Errorf("the sidecar does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the sidecar answered %s", resp.Status)
	}
	return nil
}
