// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A process that does not come up is an error that says why, and is not left.
func TestStartThatFails(t *testing.T) {
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("taskset is not installed")
	}
	log := filepath.Join(t.TempDir(), "log")
	_, err := Start(t.Context(), Command{
		Name: "shell", Args: []string{"sh", "-c", "echo first; echo no such option >&2; exit 1"}, Log: log, Address: "127.0.0.1:1",
	})
	if err == nil || !strings.Contains(err.Error(), "no such option") {
		t.Errorf("error is %v, want one with the last line", err)
	}
}

func TestLockIsOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Lock(ended, file); err == nil {
		t.Fatal("two have the lock")
	}
	unlock()
	again, err := Lock(ended, file)
	if err != nil {
		t.Fatalf("a lock that was given up: %v", err)
	}
	again()
}
