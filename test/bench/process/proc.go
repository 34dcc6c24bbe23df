// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, which is 100 on every
// architecture that Go runs Linux on (proc(5)).
const tick = time.Second / 100

// parseStat reads a /proc/<pid>/stat: the parent and utime + stime of all threads.
// The command in parentheses may contain spaces and parentheses itself.
func parseStat(s string) (parent int, cpu time.Duration, err error) {
	end := strings.LastIndexByte(s, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("stat has no command: %q", s)
	}
	// fields[0] is field 3 of proc(5), the state.
	fields := strings.Fields(s[end+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("stat has %d fields after the command, not 13 or more", len(fields))
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return 0, 0, fmt.Errorf("parent in stat: %w", err)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("CPU time in stat: %w", err)
		}
		cpu += time.Duration(n) * tick
	}
	return parent, cpu, nil
}

// parseStatus returns VmRSS of a /proc/<pid>/status, in bytes. A process that is
// ending has none.
func parseStatus(s string) int64 {
	for line := range strings.Lines(s) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return n << 10
			}
		}
	}
	return 0
}

// family is a process and all that it has started.
func family(pid int) ([]int, error) {
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range found {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		parent, _, err := parseStat(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		children[parent] = append(children[parent], child)
	}
	out := []int{pid}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out, nil
}

// CPU is the CPU time that the process and its living children have used.
func (p *Process) CPU() (time.Duration, error) {
	pids, err := family(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("%s is not running any more: %w", p.name, err)
		}
		_, cpu, err := parseStat(string(b))
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// Memory is the resident memory of the process and its living children.
func (p *Process) Memory() (int64, error) {
	pids, err := family(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, fmt.Errorf("%s is not running any more: %w", p.name, err)
		}
		sum += parseStatus(string(b))
	}
	return sum, nil
}
