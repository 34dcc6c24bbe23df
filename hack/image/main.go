// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
)

const usage = `usage: image [-o FILE] [-push REPOSITORY] -image NAME:TAG -add FILE=PATH… …

Flags after an -image are about that image, until the next one:
  -add FILE=PATH    put a file at an absolute path; executables must be static (repeatable)
  -entrypoint PATH  what the container starts; the first file added if not given
  -user UID         numeric user, default 65532
  -env NAME=VALUE   an environment variable (repeatable)
  -label NAME=VALUE a label (repeatable)

Flags about all images:
`

// job is what the command line asks for.
type job struct {
	archive, push string
	insecure      bool
	specs         []*spec
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == nil {
		return
	}
	if err == flag.ErrHelp {
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "image:", err)
	os.Exit(1)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	j, err := parse(args, stderr)
	if err != nil {
		return err
	}
	built := make([]builtImage, 0, len(j.specs))
	for _, s := range j.specs {
		b, err := s.build()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		built = append(built, b)
	}
	if j.archive != "" {
		if err := writeArchive(j.archive, built); err != nil {
			return err
		}
	}
	for _, b := range built {
		digest, err := b.image.Digest()
		if err != nil {
			return err
		}
		name := b.tag.String()
		if j.push != "" {
			if name, err = push(ctx, j.push, b, j.insecure); err != nil {
				return err
			}
		}
		fmt.Fprintf(stdout, "%s@%s\n", name, digest)
	}
	return nil
}

// parse reads the flags; their order matters, so each writes to the last image.
func parse(args []string, stderr io.Writer) (*job, error) {
	j := &job{}
	fs := flag.NewFlagSet("image", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.VisitAll(func(f *flag.Flag) {
			if f.Usage != "" {
				fmt.Fprintf(stderr, "  -%-16s %s\n", f.Name, f.Usage)
			}
		})
	}
	fs.StringVar(&j.archive, "o", "", "archive to write, for docker load, ctr images import and every reader of OCI archives")
	fs.StringVar(&j.push, "push", "", "registry and folder to push to: registry.example/me makes registry.example/me/<last part of the name>:<tag>")
	fs.BoolVar(&j.insecure, "insecure", false, "push over plain HTTP")
	fs.Func("image", "", func(name string) error {
		j.specs = append(j.specs, &spec{name: name, user: defaultUser})
		return nil
	})
	ofImage := func(name string, set func(*spec, string) error) {
		fs.Func(name, "", func(value string) error {
			if len(j.specs) == 0 {
				return fmt.Errorf("needs an -image before it")
			}
			return set(j.specs[len(j.specs)-1], value)
		})
	}
	ofImage("add", (*spec).add)
	ofImage("entrypoint", func(s *spec, v string) error { s.entrypoint = v; return nil })
	ofImage("user", (*spec).setUser)
	ofImage("env", func(s *spec, v string) error { s.env = append(s.env, v); return nil })
	ofImage("label", (*spec).addLabel)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case len(j.specs) == 0:
		return nil, fmt.Errorf("no -image given; -h shows how")
	case j.archive == "" && j.push == "":
		return nil, fmt.Errorf("nothing to do with the images: give -o or -push")
	}
	return j, nil
}

func (s *spec) add(value string) error {
	from, to, ok := strings.Cut(value, "=")
	if !ok || from == "" || !path.IsAbs(to) || path.Clean(to) != to || to == "/" {
		return fmt.Errorf("want FILE=/absolute/path, got %q", value)
	}
	s.files = append(s.files, file{from: from, to: to})
	return nil
}

func (s *spec) setUser(value string) error {
	for _, c := range value {
		if c < '0' || c > '9' {
			return fmt.Errorf("want a number (a kubelet can't prove that a name isn't root), got %q", value)
		}
	}
	s.user = value
	return nil
}

func (s *spec) addLabel(value string) error {
	k, v, ok := strings.Cut(value, "=")
	if !ok {
		return fmt.Errorf("want NAME=VALUE, got %q", value)
	}
	if s.labels == nil {
		s.labels = map[string]string{}
	}
	s.labels[k] = v
	return nil
}
