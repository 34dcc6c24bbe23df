// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	for name, test := range map[string]struct {
		stat       string
		wantParent int
		wantCPU    time.Duration
		wantError  string
	}{
		"a process": {
			stat:       "4711 (envoy) S 42 4711 4711 0 -1 4194560 9000 0 3 0 1234 66 7 8 20 0 9 0 5012 1 2 3",
			wantParent: 42, wantCPU: 13 * time.Second,
		},
		"a command with spaces and parentheses": {
			stat:       "1 (a) b (c)) R 2 1 1 0 -1 0 0 0 0 0 5 6 0 0 20 0 1 0 1 1 2 3",
			wantParent: 2, wantCPU: 110 * time.Millisecond,
		},
		"no command":        {stat: "1 2 3", wantError: "no command"},
		"cut off":           {stat: "1 (a) R 2 3", wantError: "3 fields"},
		"a time of letters": {stat: "1 (a) R 2 1 1 0 -1 0 0 0 0 0 x 6 0", wantError: "CPU time"},
	} {
		t.Run(name, func(t *testing.T) {
			parent, cpu, err := parseStat(test.stat)
			if test.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantError) {
					t.Fatalf("error is %v, want one with %q", err, test.wantError)
				}
				return
			}
			if err != nil || parent != test.wantParent || cpu != test.wantCPU {
				t.Errorf("got parent %d, CPU %v, error %v; want %d, %v", parent, cpu, err, test.wantParent, test.wantCPU)
			}
		})
	}
}

func TestParseStatus(t *testing.T) {
	for name, test := range map[string]struct {
		status string
		want   int64
	}{
		"a process":           {"Name:\tweir\nVmPeak:\t  900 kB\nVmRSS:\t   18432 kB\nThreads:\t5\n", 18 << 20},
		"one that is ending":  {"Name:\tweir\nThreads:\t1\n", 0},
		"nothing that counts": {"VmRSS:\t many kB\n", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseStatus(test.status); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}
