// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// writeArchive writes an OCI image layout as a tar file, with the manifest.json
// beside it that `docker load` looks for. Docker itself saves images like this.
func writeArchive(file string, images []builtImage) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := writeLayout(dir, images); err != nil {
		return err
	}
	return whole(file, func(f *os.File) error { return tarFolder(f, dir) })
}

func writeLayout(dir string, images []builtImage) error {
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	var docker tarball.Manifest
	seen := map[name.Tag]bool{}
	for _, b := range images {
		if seen[b.tag] {
			return fmt.Errorf("%s is given twice", b.tag)
		}
		seen[b.tag] = true
		err := p.AppendImage(b.image, layout.WithAnnotations(map[string]string{
			"org.opencontainers.image.ref.name": b.tag.TagStr(),
			"io.containerd.image.name":          b.tag.String(),
		}))
		if err != nil {
			return err
		}
		d, err := descriptor(b)
		if err != nil {
			return err
		}
		docker = append(docker, d)
	}
	data, err := json.Marshal(docker)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "manifest.json"), data, 0o600)
}

// descriptor is an image's entry in manifest.json.
func descriptor(b builtImage) (tarball.Descriptor, error) {
	config, err := b.image.ConfigName()
	if err != nil {
		return tarball.Descriptor{}, err
	}
	layers, err := b.image.Layers()
	if err != nil {
		return tarball.Descriptor{}, err
	}
	d := tarball.Descriptor{Config: blobPath(config), RepoTags: []string{b.tag.String()}}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return tarball.Descriptor{}, err
		}
		d.Layers = append(d.Layers, blobPath(digest))
	}
	return d, nil
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// tarFolder writes a folder in the order of its names.
func tarFolder(f *os.File, dir string) error {
	w := tar.NewWriter(f)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: filepath.ToSlash(rel) + "/", Mode: 0o755, ModTime: epoch})
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(rel), Mode: 0o644, Size: int64(len(data)), ModTime: epoch}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}

// whole lets write fill a new file beside the old one and then puts it in its
// place, so nobody reads half an archive.
func whole(file string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// push sends an image to REPOSITORY/<last part of its name>:<its tag>, with the
// credentials of the Docker configuration, and returns that name.
func push(ctx context.Context, repository string, b builtImage, insecure bool) (string, error) {
	base := b.tag.RepositoryStr()
	base = base[strings.LastIndex(base, "/")+1:]
	var opts []name.Option
	if insecure {
		opts = append(opts, name.Insecure)
	}
	ref, err := name.NewTag(strings.TrimSuffix(repository, "/")+"/"+base+":"+b.tag.TagStr(), append(opts, name.StrictValidation)...)
	if err != nil {
		return "", fmt.Errorf("-push %s: %w", repository, err)
	}
	if err := remote.Write(ref, b.image, remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithContext(ctx)); err != nil {
		return "", fmt.Errorf("push of %s: %w", ref, err)
	}
	return ref.String(), nil
}
