// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const defaultUser = "65532"

// epoch is the time of every file and image.
var epoch = time.Unix(0, 0).UTC()

// spec is one image to build.
type spec struct {
	name       string
	files      []file
	entrypoint string
	user       string
	env        []string
	labels     map[string]string
}

// file is a file of this machine and its absolute path in the image.
type file struct{ from, to string }

type builtImage struct {
	tag   name.Tag
	image v1.Image
}

func (s *spec) build() (builtImage, error) {
	tag, err := name.NewTag(s.name, name.StrictValidation)
	if err != nil {
		return builtImage{}, fmt.Errorf("image name: %w", err)
	}
	if len(s.files) == 0 {
		return builtImage{}, fmt.Errorf("no files: give -add")
	}
	entries, arch, err := s.entries()
	if err != nil {
		return builtImage{}, err
	}
	layer, err := layerOf(entries)
	if err != nil {
		return builtImage{}, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		return builtImage{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return builtImage{}, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Created = v1.Time{Time: epoch}
	for i := range config.History {
		config.History[i].Created = v1.Time{Time: epoch}
	}
	config.Config = s.config()
	image, err = mutate.ConfigFile(image, config)
	return builtImage{tag: tag, image: image}, err
}

func (s *spec) config() v1.Config {
	entrypoint := s.entrypoint
	if entrypoint == "" {
		entrypoint = s.files[0].to
	}
	return v1.Config{
		Entrypoint: []string{entrypoint},
		Env:        append([]string{"PATH=" + path.Dir(entrypoint)}, s.env...),
		User:       s.user,
		WorkingDir: "/",
		Labels:     s.labels,
	}
}

// entries reads the files; the architecture is that of the executables.
func (s *spec) entries() (map[string]entry, string, error) {
	entries := map[string]entry{
		"tmp/":       {mode: 0o1777},
		"etc/passwd": {mode: 0o644, data: []byte("root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n")},
		"etc/group":  {mode: 0o644, data: []byte("root:x:0:\nnonroot:x:65532:\n")},
	}
	arch := ""
	for _, f := range s.files {
		data, err := os.ReadFile(f.from)
		if err != nil {
			return nil, "", err
		}
		mode := int64(0o644)
		if bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
			mode = 0o755
			a, err := staticArch(f.from, data)
			if err != nil {
				return nil, "", err
			}
			if arch != "" && arch != a {
				return nil, "", fmt.Errorf("%s is for %s, the files before it for %s", f.from, a, arch)
			}
			arch = a
		}
		entries[strings.TrimPrefix(f.to, "/")] = entry{mode: mode, data: data}
	}
	if arch == "" {
		return nil, "", fmt.Errorf("none of the files is a Linux executable")
	}
	return entries, arch, nil
}

// staticArch returns the GOARCH of a static executable, and refuses others.
func staticArch(path string, data []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s needs a dynamic linker, which the image doesn't have: build it with CGO_ENABLED=0", path)
		}
	}
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	}
	return "", fmt.Errorf("%s is for %s; amd64 and arm64 are known", path, f.Machine)
}

// entry is a file of the layer, or a folder if its name ends in a slash.
type entry struct {
	mode int64
	data []byte
}

// layerOf writes the entries, and the folders they are in, in the order of
// their names.
func layerOf(entries map[string]entry) (v1.Layer, error) {
	for name := range entries {
		for dir := path.Dir(strings.TrimSuffix(name, "/")); dir != "."; dir = path.Dir(dir) {
			if _, ok := entries[dir+"/"]; !ok {
				entries[dir+"/"] = entry{mode: 0o755}
			}
		}
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Strings(names)
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range names {
		e := entries[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: e.mode, Size: int64(len(e.data)), ModTime: epoch}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
}
