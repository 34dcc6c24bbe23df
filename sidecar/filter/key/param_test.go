// SPDX-License-Identifier: Apache-2.0

package key

import (
	"bytes"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

func TestQueryParam(t *testing.T) {
	long := strings.Repeat("a", maxValue)
	for name, tc := range map[string]struct {
		query    string
		want     string
		doubtful bool
	}{
		"alone":             {"user=a", "a", false},
		"among others":      {"x=1&user=a&y", "a", false},
		"decoded":           {"user=%61+b%2Bc", "a b+c", false},
		"name decoded":      {"us%65r=a", "a", false},
		"absent":            {"x=1&users=2&use=3", "", false},
		"no query":          {"", "", false},
		"empty":             {"user=", "", false},
		"without a value":   {"user", "", false},
		"twice":             {"user=a&user=b", "", true},
		"twice, one empty":  {"user=&user=b", "", true},
		"another case":      {"User=a", "", true},
		"after a semicolon": {"x=1;user=a", "", true},
		"before one":        {"user=a;x=1", "", true},
		"broken escape":     {"user=%zz", "", true},
		"cut escape":        {"user=a%4", "", true},
		"another's escape":  {"x=%zz&user=a", "a", false},
		"in a value":        {"x=user=b&user=a", "a", false},
		"longest":           {"user=" + long, long, false},
		"too long":          {"user=" + long + "a", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, doubtful := appendQueryParam([]byte("x"), []byte(tc.query), "user")
			check(t, got, QueryParam, tc.want, doubtful, tc.doubtful)
		})
	}
}

func TestCookie(t *testing.T) {
	long := strings.Repeat("a", maxValue)
	for name, tc := range map[string]struct {
		cookies  string
		want     string
		doubtful bool
	}{
		"alone":           {"sid=a", "a", false},
		"among others":    {"a=1; sid=a; b=2", "a", false},
		"without spaces":  {"a=1;sid=a;b=2", "a", false},
		"quoted":          {`sid="a"`, "a", false},
		"one quote":       {`sid="`, `"`, false},
		"decoded":         {"sid=a%20b", "a b", false},
		"no escape":       {"sid=a%zzb%2", "a%zzb%2", false},
		"with equals":     {"sid=a=b", "a=b", false},
		"absent":          {"side=1; SID=2; x=sid=3", "", false},
		"empty":           {"sid=", "", false},
		"without a value": {"sid", "", false},
		"twice":           {"sid=a; sid=b", "", true},
		"longest":         {"sid=" + long, long, false},
		"too long":        {"sid=" + long + "a", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			got, doubtful := appendCookie([]byte("x"), []byte(tc.cookies), "sid")
			check(t, got, Cookie, tc.want, doubtful, tc.doubtful)
		})
	}
}

func check(t *testing.T, got []byte, tag Kind, want string, doubtful, wantDoubtful bool) {
	t.Helper()
	whole := []byte("x")
	if want != "" {
		whole = AppendValue(whole, tag, []byte(want))
	}
	if !bytes.Equal(got, whole) || doubtful != wantDoubtful {
		t.Errorf("got %q, doubtful %v; want %q, %v", got, doubtful, whole, wantDoubtful)
	}
}

// FuzzQueryParam: what net/url reads as one value is read the same, and nothing that
// it reads is called missing.
func FuzzQueryParam(f *testing.F) {
	for _, q := range []string{"user=a", "a=1&user=%61+b", "user=a&user=b", "x;user=a", "User=a", "user=%zz", "%75ser=1"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got, doubtful := appendQueryParam(nil, []byte(query), "user")
		if doubtful {
			if len(got) > 0 {
				t.Fatalf("doubtful, but %q", got)
			}
			return
		}
		values, _ := url.ParseQuery(query)
		want := values["user"]
		switch {
		case len(want) == 0 || len(want) == 1 && want[0] == "":
			if len(got) > 0 && !strings.Contains(query, ";") {
				t.Fatalf("net/url reads nothing, got %q", got)
			}
		case len(want) > 1 || !bytes.Equal(got, AppendValue(nil, QueryParam, []byte(want[0]))):
			t.Fatalf("net/url reads %q, got %q", want, got)
		}
	})
}

// FuzzCookie: what net/http reads counts as what it reads, where all is plain, and is
// never called missing.
func FuzzCookie(f *testing.F) {
	for _, c := range []string{"sid=a", `a=b; sid="x y"`, "sid=a; sid=b", "sid=%41", ";;sid=;"} {
		f.Add(c)
	}
	plain := regexp.MustCompile(`^[-\w=;]*$`)
	f.Fuzz(func(t *testing.T, cookies string) {
		got, doubtful := appendCookie(nil, []byte(cookies), "sid")
		if doubtful && len(got) > 0 {
			t.Fatalf("doubtful, but %q", got)
		}
		r := http.Request{Header: http.Header{"Cookie": {cookies}}}
		all := r.CookiesNamed("sid")
		if len(all) > 0 && all[0].Value != "" && len(got) == 0 && !doubtful {
			t.Fatalf("net/http reads %q, got nothing", all[0].Value)
		}
		if len(all) == 1 && !doubtful && plain.MatchString(cookies) && all[0].Value != "" &&
			!bytes.Equal(got, AppendValue(nil, Cookie, []byte(all[0].Value))) {
			t.Fatalf("net/http reads %q, got %q", all[0].Value, got)
		}
	})
}
