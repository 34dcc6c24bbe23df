// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir.dev/weir/cmd/weir/internal/finding"
	"weir.dev/weir/cmd/weir/internal/kube"
	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/manifest"
	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/controllers/jwks"
)

// errFound makes the exit code 1 after the findings were printed.
var errFound = errors.New("there are errors, see above")

func checkCommand() *cobra.Command {
	var flags kube.Flags
	var output string
	var files, providers, idls []string
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the installation and its policies, or policy files with -f",
		Long: `Check looks at the cluster, the installation, pods and policies, and prints what
it finds: each with a code that stays the same, and what to do about it. With -f
it checks policy files and needs no cluster. It exits with 1 when anything is an
error.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var all []finding.Finding
			err := term.CheckFormat(output)
			if err != nil {
				return err
			}
			if len(files) > 0 {
				all, err = checkFiles(cmd.Context(), files, providers, idls, cmd.InOrStdin(), cmd.ErrOrStderr())
			} else {
				all, err = checkCluster(cmd.Context(), &flags, cmd.ErrOrStderr())
			}
			if err != nil {
				return err
			}
			if output != "table" {
				if all == nil {
					all = []finding.Finding{}
				}
				err = term.Encode(cmd.OutOrStdout(), output, all)
			} else {
				printFindings(cmd.OutOrStdout(), all)
			}
			if err == nil && finding.Worst(all) {
				return errFound
			}
			return err
		},
	}
	flags.Add(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "policy file, or a folder of them, to check without a cluster; may be given several times, - is standard input")
	jwtProviderFlag(c, &providers)
	idlFlag(c, &idls)
	return c
}

func checkCluster(ctx context.Context, flags *kube.Flags, progress io.Writer) ([]finding.Finding, error) {
	c, err := flags.Open()
	if err != nil {
		return nil, err
	}
	var all []finding.Finding
	p := term.New(progress)
	for _, part := range []struct {
		name string
		do   func(context.Context) ([]finding.Finding, error)
	}{{"installation", c.CheckInstallation}, {"configuration", c.CheckConfiguration}, {"pods", c.CheckPods}, {"policies", c.CheckPolicies}} {
		p.Printf("checking %s\n", part.name)
		found, err := part.do(ctx)
		all = append(all, found...)
		if err != nil {
			if finding.Worst(all) {
				return all, nil // what is missing explains the error
			}
			return nil, fmt.Errorf("check %s: %w", part.name, err)
		}
	}
	return all, nil
}

// checkFiles is what the API server and the operator would say of files.
func checkFiles(ctx context.Context, paths, providers, idlFlags []string, stdin io.Reader, notes io.Writer) ([]finding.Finding, error) {
	tokens, err := local.ParseJWT(ctx, providers, jwks.NewClient())
	if err != nil {
		return nil, err
	}
	idls, err := local.ParseIDLs(idlFlags)
	if err != nil {
		return nil, err
	}
	files, err := local.NewFiles(paths)
	if err != nil {
		return nil, err
	}
	files.Several = true
	policies, err := files.Read(ctx, stdin)
	var malformed local.Malformed
	if errors.As(err, &malformed) {
		return checkMalformed(malformed), nil
	}
	if err != nil {
		return nil, err
	}
	printSkipped(term.New(notes), policies)
	var all []finding.Finding
	verdicts := 0
	for _, p := range policies.Split() {
		result, err := local.Compile(p, local.ImpliedWith(p, idls), local.Settings{JWT: tokens, IDLs: idls})
		if err != nil {
			return nil, err
		}
		for _, bad := range result.BadIDLs {
			all = append(all, finding.New(finding.MalformedPolicy, "--idl", "%s", bad))
		}
		for _, warning := range result.IDLWarnings {
			all = append(all, finding.New(finding.AcceptedButWarned, "--idl", "%s", warning))
		}
		verdicts += len(result.Verdicts)
		all = append(all, checkVerdicts(p, result.Verdicts)...)
	}
	if verdicts == 0 {
		all = append(all, finding.New(finding.NothingToCheck, strings.Join(paths, " "), "There is no policy in it."))
	}
	return all, nil
}

func checkMalformed(errs local.Malformed) []finding.Finding {
	var all []finding.Finding
	for _, err := range errs {
		subject, message := "files", err.Error()
		var at *manifest.Error
		if errors.As(err, &at) {
			subject, message = at.Where(), at.What()
		}
		all = append(all, finding.New(finding.MalformedPolicy, subject, "%s", message))
	}
	return all
}

func checkVerdicts(policies local.Policies, verdicts []local.Verdict) []finding.Finding {
	var all []finding.Finding
	for _, v := range verdicts {
		subject := v.Kind + "/" + policies.Namespace + "/" + v.Name
		switch {
		case !v.Accepted:
			all = append(all, finding.New(finding.NotAccepted, subject, "%s: %s", v.Reason, v.Message))
		case v.Warning:
			all = append(all, finding.New(finding.AcceptedButWarned, subject, "%s", v.Message))
		}
	}
	return all
}

func printFindings(w io.Writer, all []finding.Finding) {
	p := term.New(w)
	if len(all) == 0 {
		p.Printf("%s Nothing is wrong.\n", p.Good("ok"))
		return
	}
	for _, f := range all {
		level := p.Warn(string(f.Level))
		if f.Level == finding.Error {
			level = p.Bad(string(f.Level))
		}
		p.Printf("%s %s %s\n  %s\n", f.Code, level, f.Subject, f.Message)
		if f.Remedy != "" {
			p.Printf("  %s %s\n", p.Faint("→"), f.Remedy)
		}
	}
}
