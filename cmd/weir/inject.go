// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/inject"
)

// localImage is for nodes that dist/images.tar was loaded into: its host is none.
const localImage = "weir.local/weir-sidecar:"

type injectFlags struct {
	files       []string
	remove      bool
	image       string
	operator    string
	config      string
	podSecurity string
}

func injectCommand() *cobra.Command {
	var f injectFlags
	c := &cobra.Command{
		Use:   "inject -f FILE",
		Short: "Print manifests as the webhook would change their pods",
		Long: `Inject prints the manifests of FILE with the sidecar put into their pods and pod
templates, by the same function that the webhook calls. What it did, and why not
where it did not, goes to standard error. Pods that are injected this way still
need the ConfigMap ` + podspec.ConfigMapCA + ` in their namespace, which the operator writes
where the namespace is labelled ` + podspec.LabelInject + `=` + podspec.InjectEnabled + `.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "manifest; may be given several times, - is standard input")
	c.Flags().BoolVar(&f.remove, "remove", false, "take the sidecar out instead")
	c.Flags().StringVar(&f.image, "image", localImage+version, "image of the sidecar, where your nodes pull it from")
	c.Flags().StringVar(&f.operator, "operator", "weir-operator.weir-system.svc:8443", "address of the operator's config stream")
	c.Flags().StringVar(&f.config, "config", "", "operator configuration whose injection settings hold")
	c.Flags().StringVar(&f.podSecurity, "pod-security", "", "Pod Security level of the namespace: privileged, baseline or restricted")
	_ = c.RegisterFlagCompletionFunc("pod-security", cobra.FixedCompletions([]string{"privileged", "baseline", "restricted"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (f *injectFlags) run(stdin io.Reader, out, notes io.Writer) error {
	if len(f.files) == 0 {
		return errors.New("no manifest is given; name one with -f")
	}
	profile, err := f.profile()
	if err != nil {
		return err
	}
	refused := false
	for i, path := range f.files {
		in, err := readFile(path, stdin)
		if err != nil {
			return err
		}
		var result []byte
		var objects []inject.Result
		if f.remove {
			result, objects, err = inject.UninjectManifest(in)
		} else {
			result, objects, err = inject.InjectManifest(in, func(string) inject.Profile { return profile })
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if i > 0 {
			fmt.Fprintln(out, "---")
		}
		if _, err := out.Write(result); err != nil {
			return err
		}
		refused = printInjected(notes, path, objects) || refused
	}
	if !f.remove && strings.HasPrefix(f.image, localImage) {
		p := term.New(notes)
		p.Printf("%s The image %s is only on nodes that it was loaded into; --image names one to pull.\n", p.Warn("!"), f.image)
	}
	if refused {
		return errors.New("at least one object was refused, see above")
	}
	return nil
}

func printInjected(w io.Writer, path string, objects []inject.Result) (refused bool) {
	p := term.New(w)
	if len(objects) == 0 {
		p.Printf("%s: nothing in it has pods\n", path)
	}
	for _, o := range objects {
		what := "unchanged"
		if o.Changed {
			what = "changed"
		}
		p.Printf("%s: %s %s %s\n", path, o.Kind, o.Name, what)
		for _, r := range o.Reasons {
			p.Printf("  %s\n", r)
			refused = refused || r.Code.Effect() == inject.EffectRefuse
		}
	}
	return refused
}

func (f *injectFlags) profile() (inject.Profile, error) {
	p := inject.Profile{Version: version, Image: f.image, Operator: f.operator}
	if f.config != "" {
		text, err := os.ReadFile(f.config)
		if err != nil {
			return p, err
		}
		c, err := config.Parse(text)
		if err != nil {
			return p, fmt.Errorf("%s: %w", f.config, err)
		}
		p.Capture = c.Injection.Capture
		p.OnMissingConfig = c.Injection.OnMissingConfig
		p.Resources = c.Injection.Resources
		for _, s := range c.Injection.ImagePullSecrets {
			p.PullSecrets = append(p.PullSecrets, s.Name)
		}
	}
	switch f.podSecurity {
	case "":
	case "privileged", "baseline", "restricted":
		p.NamespaceLabels = map[string]string{"pod-security.kubernetes.io/enforce": f.podSecurity}
	default:
		return p, fmt.Errorf("--pod-security %q is not known; use privileged, baseline or restricted", f.podSecurity)
	}
	return p, nil
}

func readFile(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}
