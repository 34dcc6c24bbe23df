// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

func TestParseTimeouts(t *testing.T) {
	cases := map[string]struct {
		text string
		want []Timeout
		err  string
	}{
		"every path":      {"30s", []Timeout{{"/", 30 * time.Second}}, ""},
		"a path":          {"/reports=10m", []Timeout{{"/reports", 10 * time.Minute}}, ""},
		"both":            {" 30s , /a/b=1h30m ", []Timeout{{"/", 30 * time.Second}, {"/a/b", 90 * time.Minute}}, ""},
		"none":            {"0s", []Timeout{{"/", 0}}, ""},
		"slash at an end": {"/a/=1s", []Timeout{{"/a", time.Second}}, ""},
		"root":            {"/=250ms", []Timeout{{"/", 250 * time.Millisecond}}, ""},
		"gRPC":            {"/shop.v1.Payments/Charge=2s", []Timeout{{"/shop.v1.Payments/Charge", 2 * time.Second}}, ""},
		"a day":           {"24h", []Timeout{{"/", 24 * time.Hour}}, ""},

		"empty":           {" ", nil, "it is empty: write 30s for every path, /reports=10m for"},
		"no unit":         {"30", nil, `"30" is no timeout: write 30s for every path, or /reports=10m`},
		"fraction":        {"1.5s", nil, `"1.5s" is no timeout`},
		"below 0":         {"-1s", nil, `"-1s" is no timeout`},
		"other units":     {"10us", nil, `"10us" is no timeout`},
		"more than a day": {"25h", nil, "longer than 24h"},
		"no value":        {"/a", nil, `"/a" has no timeout: write it after the path, as in /reports=10m`},
		"empty value":     {"/a=", nil, `"/a=" is no timeout`},
		"no slash":        {"a=10m", nil, `"a=10m" is no timeout`},
		"two equal signs": {"/a=1s=2s", nil, `"/a=1s=2s" is no timeout`},
		"twice":           {"1s,2s", nil, `"2s" is for a path that is there already`},
		"twice as /":      {"1s,/=2s", nil, `"/=2s" is for a path that is there already`},
		"empty segment":   {"/a//b=1s", nil, `"/a//b" is no path of whole segments`},
		"dots":            {"/a/..=1s", nil, `"/a/.." is no path of whole segments`},
		"one dot":         {"/./a=1s", nil, `"/./a" is no path of whole segments`},
		"glob":            {"/a/*=1s", nil, `"/a/*" is no path of whole segments`},
		"template":        {"/a/{b}=1s", nil, `"/a/{b}" is no path of whole segments`},
		"escape":          {"/a%20b=1s", nil, `"/a%20b" is no path of whole segments`},
		"long":            {"/" + strings.Repeat("a", 256) + "=1s", nil, "256 bytes at the most"},
		"many":            {strings.Repeat("/a=1s,", 65), nil, "it has 65 entries, 64 are possible"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseTimeouts(c.text)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want an error with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestParseBody(t *testing.T) {
	for text, want := range map[string]int64{"10Mi": 10 << 20, "1M": 1_000_000, " 17 ": 17, "1.5Ki": 1536, "1e3": 1000} {
		if got, err := parseBody(text); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "write it as in 10Mi", "10 MB": "write it as in 10Mi", "0": "above 0", "-1": "above 0", "100m": "whole number", "9Ei9": "10Mi", "1e30": "whole number",
	} {
		if got, err := parseBody(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %d, %v, want an error with %q", text, got, err, want)
		}
	}
}

// What several Services say about one port is bounded as a whole.
func TestTooManyTimeouts(t *testing.T) {
	in := Input{Pods: []corev1.Pod{makePod("p")}}
	for i := range 2 {
		s := makeService(fmt.Sprint("s", i), makePort("http", 80, intstr.FromInt32(8080)))
		var list []string
		for j := range 40 {
			list = append(list, fmt.Sprintf("/s%d/%d=1s", i, j))
		}
		s.Annotations = map[string]string{AnnotationResponseTimeout: strings.Join(list, ",")}
		in.Services = append(in.Services, s)
	}
	id := PolicyID{Kind: "RateLimitPolicy", Name: "x"}
	in.Policies = []Policy{{ID: id, Targets: []v1alpha1.TargetRef{{Name: "s0"}}, Enforceable: []snapshot.Protocol{snapshot.Protocol_PROTOCOL_HTTP}}}
	got := Attach(in).Targets[id][0]
	if got.Reason != v1alpha1.ReasonInvalid || !strings.Contains(got.Message, "has 80 timeouts from weir.dev/response-timeout") {
		t.Errorf("got %s: %s", got.Reason, got.Message)
	}
}
