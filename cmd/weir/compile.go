// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/controllers/jwks"
)

func compileCommand() *cobra.Command {
	var files []string
	var out, redis string
	var providers, idls []string
	var telemetry telemetryFlags
	c := &cobra.Command{
		Use:   "compile -f FILE -o SNAPSHOT",
		Short: "Compile policy files to the snapshot that a sidecar serves",
		Long: `Compile prints, as JSON, the snapshot that the operator would send to a pod
behind all Services that the policies name. weir-sidecar --snapshot serves it.
What was not accepted is said on standard error, and makes the exit code 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var settings local.Settings
			var err error
			if settings.Telemetry, err = telemetry.settings(cmd); err != nil {
				return err
			}
			if settings.JWT, err = local.ParseJWT(cmd.Context(), providers, jwks.NewClient()); err != nil {
				return err
			}
			if settings.IDLs, err = local.ParseIDLs(idls); err != nil {
				return err
			}
			return compileFiles(cmd.Context(), files, redis, settings, out, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "policy file, or a folder of them; may be given several times, - is standard input")
	c.Flags().StringVarP(&out, "out", "o", "-", "where the snapshot goes; - is standard output")
	c.Flags().StringVar(&redis, "redis", "", "HOST:PORT of the store, without credentials (default: the sidecar's memory)")
	jwtProviderFlag(c, &providers)
	idlFlag(c, &idls)
	telemetry.register(c)
	return c
}

func compileFiles(ctx context.Context, paths []string, redis string, settings local.Settings, out string, stdin io.Reader, stdout, stderr io.Writer) error {
	files, err := local.NewFiles(paths)
	if err != nil {
		return err
	}
	policies, err := files.Read(ctx, stdin)
	if err != nil {
		return err
	}
	if redis != "" {
		r, err := local.ParseRedis(redis)
		if err != nil {
			return err
		}
		if r.Secrets != nil {
			return errors.New("--redis: a snapshot carries no credentials; leave them out")
		}
		settings.Redis = r.Store
	}
	result, err := local.Compile(policies, local.ImpliedWith(policies, settings.IDLs), settings)
	if err != nil {
		return err
	}
	if len(result.BadIDLs) > 0 {
		return errors.New("--idl: " + strings.Join(result.BadIDLs, "\n"))
	}
	text, err := protojson.MarshalOptions{Multiline: true, Indent: "  "}.Marshal(result.Snapshot)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if out == "-" {
		_, err = stdout.Write(text)
	} else {
		err = os.WriteFile(out, text, 0o644)
	}
	if err != nil {
		return err
	}
	p := term.New(stderr)
	printSkipped(p, policies)
	printVerdicts(p, result.Verdicts)
	if len(result.Verdicts) == 0 {
		p.Printf("The files hold no policy: this snapshot lets everything pass.\n")
	}
	for _, v := range result.Verdicts {
		if !v.Accepted {
			return errors.New("at least one policy was not accepted, see above")
		}
	}
	return nil
}
