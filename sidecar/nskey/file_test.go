// SPDX-License-Identifier: Apache-2.0

package nskey_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/nskey"
)

func TestLocal(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	known, err := nskey.Local("", "local", "shop")
	if err != nil || len(known.GetCurrent()) != nskey.Size {
		t.Fatalf("%d bytes, %v", len(known.GetCurrent()), err)
	}
	secret := strings.Repeat("s", 32)
	one, err := nskey.Local(file(secret+"\n"), "local", "shop")
	if err != nil {
		t.Fatal(err)
	}
	two, err := nskey.Local(file(secret), "local", "shop")
	if err != nil || !bytes.Equal(one.GetCurrent(), two.GetCurrent()) {
		t.Errorf("the end of the line is part of the key (%v)", err)
	}
	if bytes.Equal(one.GetCurrent(), known.GetCurrent()) {
		t.Error("the file makes no difference")
	}
	for name, path := range map[string]string{"short": file(secret[1:] + "\n"), "missing": filepath.Join(t.TempDir(), "none")} {
		if _, err := nskey.Local(path, "local", "shop"); err == nil || strings.Contains(err.Error(), secret[1:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
