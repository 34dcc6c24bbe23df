// SPDX-License-Identifier: Apache-2.0

package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	paths   []string
	decoder *manifest.Decoder
	last    []byte
}

// NewFiles prepares to read paths; "-" is standard input.
func NewFiles(paths []string) (*Files, error) {
	if len(paths) == 0 {
		return nil, errors.New("no file is given; name at least one with -f")
	}
	d, err := manifest.NewDecoder()
	return &Files{paths: paths, decoder: d}, err
}

// Read decodes all files. Every error is a line with file, document and field.
func (f *Files) Read(ctx context.Context, stdin io.Reader) (Policies, error) {
	content, err := f.content(stdin)
	if err != nil {
		return Policies{}, err
	}
	f.last = bytes.Join(content, []byte{0})
	var all Policies
	var errs []error
	from := map[string]string{}
	for i, path := range f.paths {
		r, es := f.decoder.Decode(ctx, path, content[i])
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
		return Policies{}, errors.Join(errs...)
	}
	all.Namespace, err = oneNamespace(all.Objects)
	return all, err
}

func (f *Files) content(stdin io.Reader) ([][]byte, error) {
	var all [][]byte
	for _, path := range f.paths {
		var b []byte
		var err error
		if path == "-" {
			b, err = io.ReadAll(stdin)
		} else {
			b, err = os.ReadFile(path)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
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
		content, err := f.content(nil)
		if err == nil && !bytes.Equal(f.last, bytes.Join(content, []byte{0})) {
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
