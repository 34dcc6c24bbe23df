// SPDX-License-Identifier: Apache-2.0

//go:build linux

package stand

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"weir.dev/weir/test/bench/peer"
	"weir.dev/weir/test/bench/process"
	"weir.dev/weir/test/bench/report"
)

// Cores: what is measured has one for itself.
const (
	ProxyCore = 0
	LoadCore  = 1
)

// Stand is ready for a benchmark.
type Stand struct {
	Folder string
	// Files is how many may be open.
	Files uint64
	Setup peer.Setup

	stops []func()
}

// New waits until no other benchmark runs, binds this process to LoadCore and
// starts the application there, an nginx. needs are programs, each with what it is for
// and how it is had. Close ends what it began.
func New(ctx context.Context, nginx string, needs map[string]string) (*Stand, error) {
	if n := runtime.NumCPU(); n < 2 {
		return nil, fmt.Errorf("this needs two cores, one for the proxy alone, and there is %d", n)
	}
	for name, reason := range needs {
		if _, err := Look(name); err != nil {
			return nil, fmt.Errorf("%s is missing; %s", name, reason)
		}
	}
	s := &Stand{}
	if err := s.begin(ctx, nginx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stand) begin(ctx context.Context, nginx string) error {
	unlock, err := process.Lock(ctx, filepath.Join(os.TempDir(), "weir-bench.lock"))
	if err != nil {
		return err
	}
	s.Defer(unlock)
	if err := process.Pin(LoadCore); err != nil {
		return err
	}
	if s.Files, err = process.OpenFiles(); err != nil {
		return err
	}
	if s.Folder, err = os.MkdirTemp("", "weir-bench-"); err != nil {
		return err
	}
	s.Defer(func() { os.RemoveAll(s.Folder) })
	// nginx's worker is another user.
	if err := os.Chmod(s.Folder, 0o755); err != nil {
		return err
	}
	binary, err := Look(nginx)
	if err != nil {
		return err
	}
	p, address, err := peer.Origin(ctx, s.Folder, binary, LoadCore)
	if err != nil {
		return err
	}
	s.Defer(p.Stop)
	s.Setup = peer.Setup{Folder: s.Folder, Origin: address, Core: ProxyCore}
	return nil
}

// Defer calls stop at Close, the last first.
func (s *Stand) Defer(stop func()) { s.stops = append(s.stops, stop) }

// Close ends what runs.
func (s *Stand) Close() {
	for _, stop := range slices.Backward(s.stops) {
		stop()
	}
	s.stops = nil
}

// Look finds a program; one that is named with slashes is made absolute.
func Look(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	if strings.Contains(path, "/") {
		return filepath.Abs(path)
	}
	return path, nil
}

// Chosen reports whether a list with commas names id; an empty one names all.
func Chosen(list, id string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), id)
}

// Machine says what this is, without its name.
func Machine() (report.Machine, error) {
	m := report.Machine{Cores: runtime.NumCPU(), CPU: "processor of an unknown kind"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, err
	}
	m.Kernel = regexp.MustCompile(`^\d+\.\d+`).FindString(unix.ByteSliceToString(u.Release[:]))
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	if found := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); found != nil {
		m.CPU = strings.TrimSpace(string(found[1]))
	}
	return m, nil
}

// Busy is a sentence where others use the machine, else empty.
func Busy() string {
	s, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	var l float64
	if _, err := fmt.Sscan(string(s), &l); err != nil || l <= 1 {
		return ""
	}
	return fmt.Sprintf("The load average was %.1f when it began: others use these cores, and the figures are rough.", l)
}
