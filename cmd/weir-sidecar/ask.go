// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/podspec"
)

// localAdmin is where the sidecar of this pod answers.
func localAdmin() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(podspec.PortAdmin))
}

// ask calls the sidecar that listens at address and copies its answer to out.
func ask(ctx context.Context, method, address, path string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, nil)
	if err != nil {
		return err
	}
	// Not through HTTP_PROXY.
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return fmt.Errorf("the sidecar does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("the sidecar answered %s: %s", resp.Status, strings.TrimSpace(string(said)))
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

// The image has no shell and no curl; these are for kubectl exec.

func logLevelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "loglevel [debug|info|warn|error]",
		Short: "Print or set the log level of the sidecar of this pod",
		Long: `Loglevel prints what the sidecar of this pod logs, or changes it until the
container restarts:

  kubectl exec POD -c weir-sidecar -- /app/weir-sidecar loglevel debug`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: []string{"debug", "info", "warn", "error"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return logLevel(cmd.Context(), localAdmin(), args, cmd.OutOrStdout())
		},
	}
}

func logLevel(ctx context.Context, address string, args []string, out io.Writer) error {
	if len(args) == 0 {
		return ask(ctx, http.MethodGet, address, "/loglevel", out)
	}
	return ask(ctx, http.MethodPut, address, "/loglevel?level="+url.QueryEscape(args[0]), out)
}

func dumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dump",
		Short: "Print what the sidecar of this pod serves by",
		Long: `Dump prints the snapshot that the sidecar of this pod enforces, as JSON. Values
that headers and keys are compared with are redacted; credentials are not in it.

  kubectl exec POD -c weir-sidecar -- /app/weir-sidecar dump`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd.Context(), http.MethodGet, localAdmin(), "/dump", cmd.OutOrStdout())
		},
	}
}
