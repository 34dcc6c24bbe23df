// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/cmd/weir/internal/manifest"
)

// Policies is what files hold.
type Policies struct {
	// Namespace of all objects.
	Namespace string
	Objects   []client.Object
	// Skipped are documents of kinds that Weir does not read.
	Skipped []string
}

// Files reads policies again whenever one of the files has changed.
type Files struct {
	// Several namespaces may be in the files; by default that is an error.
	Several bool

	paths   []string
	decoder *manifest.Decoder
	last    []byte
}

// file is what was found at a path.
type file struct {
	path string
	text []byte
}

// NewFiles prepares to read paths; "-" is standard input, and a folder stands
// for the manifests in it.
func NewFiles(paths []string) (*Files, error) {
	if len(paths) == 0 {
		return nil, errors.New("no file is given; name at least one with -f")
	}
	d, err := manifest.NewDecoder()
	return &Files{paths: paths, decoder: d}, err
}

// Malformed is what is wrong with files that could be read: mostly
// *manifest.Error, each a line with file and field.
type Malformed []error

func (m Malformed) Error() string { return errors.Join(m...).Error() }

// Unwrap is for errors.Is and errors.As.
func (m Malformed) Unwrap() []error { return m }

// Read decodes all files. What is wrong in them is Malformed.
func (f *Files) Read(ctx context.Context, stdin io.Reader) (Policies, error) {
	files, err := f.content(stdin)
	if err != nil {
		return Policies{}, err
	}
	f.last = fingerprint(files)
	var all Policies
	var errs Malformed
	from := map[string]string{}
	for _, file := range files {
		path := file.path
		r, es := f.decoder.Decode(ctx, path, file.text)
		errs = append(errs, es...)
		for _, o := range r.Objects {
			id := fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
			if first, again := from[id]; again && first != path {
				errs = append(errs, fmt.Errorf("%s: %s is in %s too: remove one of them", path, o.GetName(), first))
			}
			from[id] = path
			all.Objects = append(all.Objects, o)
		}
		for _, u := range r.Unknown {
			all.Skipped = append(all.Skipped, fmt.Sprintf("%s:%d: %s %s, a kind that Weir does not read", path, u.Line, u.Kind.Kind, u.Name))
		}
	}
	if len(errs) > 0 {
		return Policies{}, errs
	}
	if f.Several {
		return all, nil
	}
	all.Namespace, err = oneNamespace(all.Objects)
	return all, err
}

// Split gives the policies of each namespace, for those who may have Several.
func (p Policies) Split() []Policies {
	var all []Policies
	at := map[string]int{}
	for _, o := range p.Objects {
		i, known := at[o.GetNamespace()]
		if !known {
			i = len(all)
			at[o.GetNamespace()] = i
			all = append(all, Policies{Namespace: o.GetNamespace()})
		}
		all[i].Objects = append(all[i].Objects, o)
	}
	return all
}

func (f *Files) content(stdin io.Reader) ([]file, error) {
	var all []file
	for _, path := range f.paths {
		if path == "-" {
			text, err := io.ReadAll(stdin)
			if err != nil {
				return nil, fmt.Errorf("read standard input: %w", err)
			}
			all = append(all, file{path, text})
			continue
		}
		names, err := manifestsAt(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			all = append(all, file{name, text})
		}
	}
	return all, nil
}

// manifestsAt is path itself, or as kubectl has it what a folder directly holds
// of *.yaml, *.yml and *.json.
func manifestsAt(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			if !e.IsDir() {
				names = append(names, filepath.Join(path, e.Name()))
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the folder %s holds no *.yaml, *.yml or *.json", path)
	}
	return names, nil
}

func fingerprint(files []file) []byte {
	var b bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&b, "%q %d ", f.path, len(f.text))
		b.Write(f.text)
	}
	return b.Bytes()
}

// Changed waits until a file's content differs from what Read has seen, looking
// every period. It returns false when ctx has ended. Standard input never
// changes, and a file that is away for a moment (editors do that) has not
// changed yet.
func (f *Files) Changed(ctx context.Context, period time.Duration) bool {
	for _, p := range f.paths {
		if p == "-" {
			<-ctx.Done()
			return false
		}
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		files, err := f.content(nil)
		if err == nil && !bytes.Equal(f.last, fingerprint(files)) {
			return true
		}
	}
}

// oneNamespace is the namespace that all objects are in: one process is one
// workload, and a workload is of one namespace.
func oneNamespace(objects []client.Object) (string, error) {
	names := map[string]bool{}
	for _, o := range objects {
		names[o.GetNamespace()] = true
	}
	switch len(names) {
	case 0:
		return manifest.DefaultNamespace, nil
	case 1:
		for n := range names {
			return n, nil
		}
	}
	var list []string
	for n := range names {
		list = append(list, n)
	}
	sort.Strings(list)
	return "", fmt.Errorf("the files hold objects of the namespaces %s; one process serves one namespace: run one for each", strings.Join(list, ", "))
}
