// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	got, err := parseReport([]byte(`<?xml version="1.0"?><testsuites>
<testsuite name="1" package="http2/5.1"><testcase package="http2/5.1" classname="a"></testcase>
<testcase package="http2/5.1" classname="b"><failure>x</failure></testcase></testsuite>
<testsuite name="2" package="hpack/2"><testcase classname="a"><skipped></skipped></testcase><testcase classname="c"><error>y</error></testcase></testsuite>
</testsuites>`))
	if err != nil {
		t.Fatal(err)
	}
	want := report{"http2/5.1: a": passed, "http2/5.1: b": failed, "hpack/2: a": skipped, "hpack/2: c": failed}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parseReport([]byte(`<testsuites></testsuites>`)); err == nil {
		t.Error("a report without cases was taken")
	}
}

func TestCompare(t *testing.T) {
	for name, test := range map[string]struct {
		bare, weir report
		ok         bool
		says       string
	}{
		"same":    {report{"a": passed, "b": failed}, report{"a": passed, "b": failed}, true, "failed by both: b"},
		"better":  {report{"a": failed}, report{"a": passed}, true, "1 passed, 0 failed"},
		"worse":   {report{"a": passed}, report{"a": failed}, false, "alone: a (failed)"},
		"skipped": {report{"a": passed}, report{"a": skipped}, false, "alone: a (skipped)"},
		"missing": {report{"a": passed}, report{}, false, "alone: a (not run)"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := compare(&out, test.bare, test.weir); (err == nil) != test.ok || !strings.Contains(out.String(), test.says) {
				t.Errorf("got %v and\n%s", err, &out)
			}
		})
	}
}
