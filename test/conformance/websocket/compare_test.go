// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	code := func(n int) *int { return &n }
	ok := verdict{Behavior: "OK", BehaviorClose: "OK", CloseCode: code(1000)}
	for name, test := range map[string]struct {
		a, b map[string]verdict
		want string
		ok   bool
	}{
		"equal":        {map[string]verdict{"1": ok}, map[string]verdict{"1": {"OK", "OK", code(1000)}}, "1 cases, 1 equal; directly: 1 OK\n", true},
		"differs":      {map[string]verdict{"1": ok}, map[string]verdict{"1": {"FAILED", "OK", nil}}, "1: OK, close OK, code 1000; through Weir: FAILED, close OK, code none\n1 cases, 0 equal", false},
		"one is less":  {map[string]verdict{"1": ok, "2": ok}, map[string]verdict{"1": ok}, "2 cases, 1 equal", false},
		"nothing":      {nil, nil, "", false},
		"nothing ran":  {map[string]verdict{"1": ok}, nil, "", false},
		"another code": {map[string]verdict{"1": ok}, map[string]verdict{"1": {"OK", "OK", code(1001)}}, "code 1001", false},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := compare(map[string]map[string]verdict{direct: test.a, through: test.b}, &out)
			if (err == nil) != test.ok || !strings.Contains(out.String(), test.want) {
				t.Errorf("got %v\n%s", err, out.String())
			}
		})
	}
}
