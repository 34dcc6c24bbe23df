// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// program compiles a program and returns its path.
func program(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "program")
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-o", out}, args...), source)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

func pack(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(t.Context(), args, &out, &errs); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String()
}

// The same binary gives the same archives, whenever and wherever it was built.
func TestReproducible(t *testing.T) {
	bin := program(t)
	var archives [2][]byte
	for i := range archives {
		dir := t.TempDir()
		archive, from := filepath.Join(dir, "o.tar"), filepath.Join(dir, "copy")
		data, err := os.ReadFile(bin)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(from, data, 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Unix(int64(1000*i), 0)
		if err := os.Chtimes(from, then, then); err != nil {
			t.Fatal(err)
		}
		pack(t, "-o", archive,
			"-image", "weir.local/a:1", "-add", from+"=/app/a",
			"-image", "weir.local/b:1", "-add", from+"=/app/b",
			"-image", "weir.local/c:1", "-add", from+"=/app/c")
		if archives[i], err = os.ReadFile(archive); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("archives of the same binary differ")
	}
}

func TestContents(t *testing.T) {
	dir := t.TempDir()
	bin, notes := program(t), filepath.Join(dir, "notes")
	if err := os.WriteFile(notes, []byte("hello"), 0o777); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "i.tar")
	pack(t, "-o", archive, "-image", "weir.local/app:v1", "-add", bin+"=/app/tool", "-add", notes+"=/usr/share/doc/notes",
		"-env", "A=b", "-label", "c=d")
	tag, err := name.NewTag("weir.local/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(archive, &tag)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Entrypoint: []string{"/app/tool"}, Env: []string{"PATH=/app", "A=b"}, User: "65532", WorkingDir: "/",
		Labels: map[string]string{"c": "d"},
	}
	if diff := cmp.Diff(want, config.Config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if config.OS != "linux" || config.Architecture != "amd64" || !config.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("platform %s/%s, created %v", config.OS, config.Architecture, config.Created)
	}
	wantFiles := []string{
		"drwxr-xr-x app/", "-rwxr-xr-x app/tool", "drwxr-xr-x etc/", "-rw-r--r-- etc/group", "-rw-r--r-- etc/passwd",
		"dtrwxrwxrwx tmp/", "drwxr-xr-x usr/", "drwxr-xr-x usr/share/", "drwxr-xr-x usr/share/doc/", "-rw-r--r-- usr/share/doc/notes",
	}
	if diff := cmp.Diff(wantFiles, list(t, image)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func list(t *testing.T, image v1.Image) []string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v; want 1", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var files []string
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fmt.Sprintf("%v %s", h.FileInfo().Mode(), h.Name))
	}
}

// The archive is an OCI layout too, whose digest is the one printed.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	archive := filepath.Join(dir, "i.tar")
	line := pack(t, "-o", archive, "-image", "weir.local/app:v1", "-add", program(t)+"=/app/tool")
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	root := filepath.Join(dir, "layout")
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	index, err := layout.ImageIndexFromPath(root)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["io.containerd.image.name"] != "weir.local/app:v1" ||
		line != "weir.local/app:v1@"+manifest.Manifests[0].Digest.String()+"\n" {
		t.Errorf("index %+v, printed %q", manifest.Manifests, line)
	}
}

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	line := pack(t, "-push", host+"/me", "-insecure", "-image", "weir.local/weir-sidecar:v1", "-add", program(t)+"=/app/tool")
	ref, err := name.NewTag(host + "/me/weir-sidecar:v1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	if want := ref.String() + "@" + got.Digest.String() + "\n"; line != want {
		t.Errorf("printed %q, want %q", line, want)
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	bin, out := program(t), filepath.Join(dir, "o.tar")
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	dynamic, err := exec.LookPath("ls")
	if err != nil {
		t.Skip("no dynamic executable found to try")
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no image":       {[]string{"-o", out}, "no -image"},
		"nowhere to":     {[]string{"-image", "weir.local/a:1"}, "give -o"},
		"flag too early": {[]string{"-add", bin + "=/a"}, "needs an -image before it"},
		"no tag":         {[]string{"-o", out, "-image", "weir.local/a", "-add", bin + "=/a"}, "image name"},
		"relative path":  {[]string{"-o", out, "-image", "weir.local/a:1", "-add", bin + "=a"}, "FILE=/absolute/path"},
		"climbing path":  {[]string{"-o", out, "-image", "weir.local/a:1", "-add", bin + "=/../a"}, "FILE=/absolute/path"},
		"named user":     {[]string{"-o", out, "-image", "weir.local/a:1", "-user", "me"}, "want a number"},
		"no executable":  {[]string{"-o", out, "-image", "weir.local/a:1", "-add", text + "=/a"}, "none of the files"},
		"dynamic":        {[]string{"-o", out, "-image", "weir.local/a:1", "-add", dynamic + "=/a"}, "CGO_ENABLED=0"},
		"twice":          {[]string{"-o", out, "-image", "weir.local/a:1", "-add", bin + "=/a", "-image", "weir.local/a:1", "-add", bin + "=/a"}, "given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), tc.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("an archive was written all the same")
			}
		})
	}
}
