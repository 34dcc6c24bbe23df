// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseIDLs(t *testing.T) {
	for text, want := range map[string]any{
		"http=m": []portIDL{{"http", IDL{ConfigMap: "m"}}},
		"http=m/a.thrift,routes=r.yaml; 81=n": []portIDL{
			{"http", IDL{ConfigMap: "m", File: "a.thrift", Routes: "r.yaml"}}, {"81", IDL{ConfigMap: "n"}}},
		"":              "it is empty",
		"m":             "has no port",
		"=m":            "has no port",
		"http=":         "no name of a ConfigMap",
		"http=M":        "no name of a ConfigMap",
		"http=m/":       "no name of a ConfigMap's member",
		"http=m/a/b":    "no name of a ConfigMap's member",
		"http=m,r=a":    "where routes=FILE can be",
		"http=m,routes": "where routes=FILE can be",
		"http=m;http=n": "is there already",
	} {
		got, err := parseIDLs(text)
		if wanted, is := want.(string); is {
			if err == nil || !strings.Contains(err.Error(), wanted) {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if diff := cmp.Diff(want, any(got), cmp.AllowUnexported(portIDL{})); diff != "" || err != nil {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
}
