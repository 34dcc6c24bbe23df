// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// The names under which the suite knows both ways.
const (
	direct  = "direct"
	through = "weir"
)

// verdict is what the suite says of one case, but for how long it took.
type verdict struct {
	Behavior      string `json:"behavior"`
	BehaviorClose string `json:"behaviorClose"`
	CloseCode     *int   `json:"remoteCloseCode"`
}

func (v verdict) String() string {
	code := "none"
	if v.CloseCode != nil {
		code = fmt.Sprint(*v.CloseCode)
	}
	return fmt.Sprintf("%s, close %s, code %s", v.Behavior, v.BehaviorClose, code)
}

func compareFile(path string, out io.Writer) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var report map[string]map[string]verdict
	if err := json.Unmarshal(b, &report); err != nil {
		return fmt.Errorf("%s is no index of a report: %w", path, err)
	}
	return compare(report, out)
}

// compare prints where the two ways differ and how many cases there were.
func compare(report map[string]map[string]verdict, out io.Writer) error {
	a, b := report[direct], report[through]
	if len(a) == 0 || len(b) == 0 {
		return fmt.Errorf("the report has %d cases of %s and %d of %s", len(a), direct, len(b), through)
	}
	all := maps.Clone(a)
	maps.Copy(all, b)
	equal, counts := 0, map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		x, inA := a[id]
		y, inB := b[id]
		counts[x.Behavior]++
		if inA && inB && x.String() == y.String() {
			equal++
			continue
		}
		fmt.Fprintf(out, "%s: %s; through Weir: %s\n", id, x, y)
	}
	fmt.Fprintf(out, "%d cases, %d equal; directly:", len(all), equal)
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(out, " %d %s", counts[k], k)
	}
	fmt.Fprintln(out)
	if equal < len(all) {
		return errors.New("the tunnel is not the same as no tunnel")
	}
	return nil
}
