// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, env map[string]string, args ...string) options {
	t.Helper()
	var o options
	c := rootCommand()
	c.ResetFlags()
	o.bind(c.Flags(), func(name string) string { return env[name] })
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestCheck(t *testing.T) {
	pod := map[string]string{"POD_NAME": "weir-operator-0", "POD_IP": "10.0.0.7", "POD_NAMESPACE": "weir"}
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want string // of the error
	}{
		"complete":    {pod, []string{"--image=x"}, ""},
		"IPv6":        {map[string]string{"POD_NAME": "a", "POD_IP": "fd00::7"}, []string{"--image=x"}, ""},
		"no image":    {pod, nil, "--image is empty"},
		"no pod":      {nil, []string{"--image=x"}, "--pod-name is empty"},
		"no address":  {map[string]string{"POD_NAME": "a"}, []string{"--image=x"}, "--pod-ip is \"\""},
		"pull policy": {pod, []string{"--image=x", "--image-pull-policy=never"}, "--image-pull-policy is \"never\""},
		"stream":      {pod, []string{"--image=x", "--stream-address=localhost"}, "--stream-address"},
	} {
		t.Run(name, func(t *testing.T) {
			o := parse(t, tc.env, tc.args...)
			got := ""
			if err := o.check(); err != nil {
				got = err.Error()
			}
			if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	o := parse(t, map[string]string{"POD_NAME": "weir-operator-0", "POD_IP": "fd00::7", "POD_NAMESPACE": "weir"}, "--stream-address=:18443")
	got := []string{o.identity().String(), o.serverName(), o.streamAddress()}
	want := []string{"weir-operator-0_[fd00::7]:18443", "weir-operator.weir.svc", "weir-operator.weir.svc:18443"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
