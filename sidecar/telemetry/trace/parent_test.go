// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"encoding/hex"
	"regexp"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/telemetry/trace"
)

const (
	traceID  = "12345678901234567890123456789012"
	parentID = "1234567890123456"
)

// TestParse has the cases of the W3C's conformance suite (w3c/trace-context,
// test/test.py) as facts, and their neighbours.
func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		in    string
		valid bool
		flags byte
	}{
		"sampled":                               {"00-" + traceID + "-" + parentID + "-01", true, 1},
		"not sampled":                           {"00-" + traceID + "-" + parentID + "-00", true, 0},
		"random":                                {"00-" + traceID + "-" + parentID + "-03", true, 3},
		"reserved flags are not passed on":      {"00-" + traceID + "-" + parentID + "-fd", true, 1},
		"version 00 with a dot after it":        {"00-" + traceID + "-" + parentID + "-01.", false, 0},
		"version 00 with more":                  {"00-" + traceID + "-" + parentID + "-01-what-the-future-will-be-like", false, 0},
		"version cc":                            {"cc-" + traceID + "-" + parentID + "-01", true, 1},
		"version cc with more":                  {"cc-" + traceID + "-" + parentID + "-01-what-the-future-will-be-like", true, 1},
		"version cc with more, no hyphen":       {"cc-" + traceID + "-" + parentID + "-01.what-the-future-will-be-like", false, 0},
		"version cc, cut":                       {"cc-" + traceID + "-" + parentID + "-0", false, 0},
		"version 01":                            {"01-" + traceID + "-" + parentID + "-01-", true, 1},
		"version ff":                            {"ff-" + traceID + "-" + parentID + "-01", false, 0},
		"version ff with more":                  {"ff-" + traceID + "-" + parentID + "-01-x", false, 0},
		"version with a dot first":              {".0-" + traceID + "-" + parentID + "-01", false, 0},
		"version with a dot last":               {"0.-" + traceID + "-" + parentID + "-01", false, 0},
		"version of three":                      {"000-" + traceID + "-" + parentID + "-01", false, 0},
		"version of four":                       {"0000-" + traceID + "-" + parentID + "-01", false, 0},
		"version of one":                        {"0-" + traceID + "-" + parentID + "-01", false, 0},
		"trace id of zeros":                     {"00-00000000000000000000000000000000-" + parentID + "-01", false, 0},
		"trace id with a dot first":             {"00-.2345678901234567890123456789012-" + parentID + "-01", false, 0},
		"trace id with a dot last":              {"00-1234567890123456789012345678901.-" + parentID + "-01", false, 0},
		"trace id too long":                     {"00-" + traceID + "3-" + parentID + "-01", false, 0},
		"trace id too short":                    {"00-" + traceID[1:] + "-" + parentID + "-01", false, 0},
		"trace id in upper case":                {"00-ABCDEF78901234567890123456789012-" + parentID + "-01", false, 0},
		"parent id of zeros":                    {"00-" + traceID + "-0000000000000000-01", false, 0},
		"parent id with a dot first":            {"00-" + traceID + "-.234567890123456-01", false, 0},
		"parent id with a dot last":             {"00-" + traceID + "-123456789012345.-01", false, 0},
		"parent id too long":                    {"00-" + traceID + "-" + parentID + "7-01", false, 0},
		"parent id too short":                   {"00-" + traceID + "-" + parentID[1:] + "-01", false, 0},
		"flags with a dot first":                {"00-" + traceID + "-" + parentID + "-.0", false, 0},
		"flags with a dot last":                 {"00-" + traceID + "-" + parentID + "-0.", false, 0},
		"flags too long":                        {"00-" + traceID + "-" + parentID + "-001", false, 0},
		"flags too short":                       {"00-" + traceID + "-" + parentID + "-1", false, 0},
		"flags in upper case":                   {"00-" + traceID + "-" + parentID + "-0A", false, 0},
		"underscores for hyphens":               {"00_" + traceID + "_" + parentID + "_01", false, 0},
		"empty":                                 {"", false, 0},
		"two values in one field":               {"00-" + traceID + "-" + parentID + "-01,00-" + traceID + "-" + parentID + "-01", false, 0},
		"two values in one field of version cc": {"cc-" + traceID + "-" + parentID + "-01,cc-" + traceID + "-" + parentID + "-01", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := trace.Parse([]byte(tc.in))
			if ok != tc.valid {
				t.Fatalf("Parse(%q) is %v, want %v", tc.in, ok, tc.valid)
			}
			if ok && (hex.EncodeToString(p.TraceID[:]) != traceID || hex.EncodeToString(p.SpanID[:]) != parentID || p.Flags != tc.flags) {
				t.Errorf("Parse(%q) = %+v", tc.in, p)
			}
		})
	}
}

// FuzzParse holds the parser against the specification's grammar.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"00-" + traceID + "-" + parentID + "-01", "cc-" + traceID + "-" + parentID + "-01-x", "ff", ""} {
		f.Add([]byte(s))
	}
	v00 := regexp.MustCompile(`\A00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\z`)
	later := regexp.MustCompile(`(?s)\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?\z`)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := string(b)
		want := v00.MatchString(s) || later.MatchString(s) && !strings.HasPrefix(s, "00") && !strings.HasPrefix(s, "ff")
		want = want && s[3:35] != strings.Repeat("0", 32) && s[36:52] != strings.Repeat("0", 16)
		p, ok := trace.Parse(b)
		if ok != want {
			t.Fatalf("Parse(%q) is %v, want %v", b, ok, want)
		}
		if !ok {
			return
		}
		// What is sent on is the same trace.
		tr := exchange.Trace{TraceID: p.TraceID, SpanID: p.SpanID}
		tr.SetParent(p.Flags)
		if again, ok := trace.Parse(tr.Parent); !ok || again != p {
			t.Errorf("%q became %q", b, tr.Parent)
		}
	})
}
