// SPDX-License-Identifier: Apache-2.0

package ratelimit_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/ratelimit"
	"weir.dev/weir/sidecar/store/memory"
)

// corpus names a clone of github.com/httpwg/structured-field-tests. The tests that need
// it are skipped without.
const corpus = "STRUCTURED_FIELD_TESTS"

type corpusCase struct {
	Name     string   `json:"name"`
	Raw      []string `json:"raw"`
	Kind     string   `json:"header_type"`
	Expected any      `json:"expected"`
	MustFail bool     `json:"must_fail"`
	CanFail  bool     `json:"can_fail"`
}

func corpusCases(t *testing.T, pattern string) map[string]corpusCase {
	t.Helper()
	dir := os.Getenv(corpus)
	if dir == "" {
		t.Skipf("%s names no clone of httpwg/structured-field-tests", corpus)
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s has no %s: %v", dir, pattern, err)
	}
	out := map[string]corpusCase{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []corpusCase
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			out[filepath.Base(file)+": "+c.Name] = c
		}
	}
	return out
}

// The parser that judges our fields is itself judged by the working group's cases.
func TestParserByCorpus(t *testing.T) {
	for name, c := range corpusCases(t, "*.json") {
		judge(t, name, c)
	}
}

func judge(t *testing.T, name string, c corpusCase) {
	t.Helper()
	got, err := parseSFV(c.Kind, c.Raw...)
	switch {
	case c.MustFail && err == nil:
		t.Errorf("%s: %q was parsed: %v", name, c.Raw, got)
	case c.MustFail || c.CanFail && err != nil:
	case err != nil:
		t.Errorf("%s: %q was refused", name, c.Raw)
	default:
		if d := cmp.Diff(c.Expected, got); d != "" {
			t.Errorf("%s: %q (-want +got):\n%s", name, c.Raw, d)
		}
	}
}

// Every string and integer of the corpus as a limit's name or number: what is refused
// shows nowhere, and what is taken comes out as it was.
func TestFieldsByCorpus(t *testing.T) {
	taken, refused := 0, 0
	try := func(v any) {
		name, limit := "a", uint64(5)
		switch v := v.(type) {
		case string:
			name = v
		case float64:
			if v < 0 || v != float64(uint64(v)) {
				return
			}
			limit = uint64(v)
		default:
			return
		}
		if checkFields(t, name, limit, 366*24*3600, 1) {
			taken++
		} else {
			refused++
		}
	}
	for _, pattern := range []string{"*.json", "serialisation-tests/*.json"} {
		for _, c := range corpusCases(t, pattern) {
			each(c.Expected, try)
		}
	}
	if taken < 20 || refused < 200 {
		t.Errorf("%d were taken, %d refused: the corpus holds other things than it did", taken, refused)
	}
}

// each visits the leaves of JSON.
func each(v any, visit func(any)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			each(e, visit)
		}
	case map[string]any:
		each(v["value"], visit)
	default:
		visit(v)
	}
}

// The rules of RFC 9651 that our fields depend on, without the corpus.
func TestParser(t *testing.T) {
	item := func(v any, parameters ...any) any { return []any{v, append([]any{}, parameters...)} }
	for name, c := range map[string]corpusCase{
		"a member":              {Raw: []string{`"a";q=5;w=60`}, Expected: []any{item("a", []any{"q", 5.0}, []any{"w", 60.0})}},
		"several":               {Raw: []string{`"a";r=0, "b" ; r=1`}, MustFail: true}, // a space before ;
		"several lines":         {Raw: []string{`"a"`, `"b"`}, Expected: []any{item("a"), item("b")}},
		"fifteen digits":        {Raw: []string{"999999999999999"}, Expected: []any{item(999999999999999.0)}},
		"sixteen digits":        {Raw: []string{"1000000000000000"}, MustFail: true},
		"a plus":                {Raw: []string{"+1"}, MustFail: true},
		"leading zeros":         {Raw: []string{"0042"}, Expected: []any{item(42.0)}},
		"no digit after .":      {Raw: []string{"1."}, MustFail: true},
		"a key in upper case":   {Raw: []string{`"a";Q=5`}, MustFail: true},
		"a quote":               {Raw: []string{`"a\"b"`}, Expected: []any{item(`a"b`)}},
		"another escape":        {Raw: []string{`"a\nb"`}, MustFail: true},
		"no end":                {Raw: []string{`"a`}, MustFail: true},
		"no ASCII":              {Raw: []string{`"ä"`}, MustFail: true},
		"a comma at the end":    {Raw: []string{`"a",`}, MustFail: true},
		"two commas":            {Raw: []string{`"a",,"b"`}, MustFail: true},
		"a parameter that ends": {Raw: []string{`"a";`}, MustFail: true},
		"the last parameter":    {Raw: []string{`"a";r=1;r=2`}, Expected: []any{item("a", []any{"r", 2.0})}},
		"a tab between members": {Raw: []string{"\"a\"\t,\t\"b\""}, Expected: []any{item("a"), item("b")}},
		"a tab before all":      {Raw: []string{"\t\"a\""}, MustFail: true},
		"bytes":                 {Raw: []string{`"a";pk=:aGk=:`}, Expected: []any{item("a", []any{"pk", typed("binary", "NBUQ====")})}},
		"nothing":               {Raw: []string{""}, Expected: []any{}},
	} {
		c.Kind = "list"
		judge(t, name, c)
	}
}

// checkFields makes a policy of the limit, and reports whether it is taken. Then the
// fields of the answers, allowed and denied, are lists that hold the name and numbers.
func checkFields(t rapid.TB, name string, limit, window uint64, algorithm snapshot.Algorithm) bool {
	t.Helper()
	l := &snapshot.Limit{
		Name: name, Algorithm: algorithm, Limit: limit, WindowSeconds: window, Scope: snapshot.Scope_SCOPE_POD,
		OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
	}
	switch algorithm {
	case snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET:
		l.Burst = 10 * limit
	case snapshot.Algorithm_ALGORITHM_CONCURRENCY:
		l.WindowSeconds = 0
	}
	second := &snapshot.Limit{
		Name: "zz", Algorithm: snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, Limit: 1, WindowSeconds: 60, Scope: snapshot.Scope_SCOPE_POD,
		OnMissingKey: snapshot.OnMissingKey_ON_MISSING_KEY_CLIENT_IP,
	}
	p := &snapshot.RateLimitPolicy{
		Name: "p", Headers: snapshot.HeaderStyle_HEADER_STYLE_BOTH, FailurePolicy: snapshot.FailurePolicy_FAILURE_POLICY_LOCAL_FALLBACK,
		Limits: []*snapshot.Limit{l, second},
	}
	w := &world{shadows: map[string]*atomic.Uint64{}, decided: map[string]int{}}
	w.µs.Store(1.2e15)
	w.tables = memory.New(memory.Options{Now: w.µs.Load})
	defer w.tables.Close()
	f, err := ratelimit.Compile(p, w.env())
	if err != nil {
		return false
	}
	for _, want := range []exchange.Verdict{exchange.Continue, exchange.Respond} {
		x := &exchange.Exchange{Method: []byte("GET"), Path: []byte("/"), Request: headers{}}
		if got := f.Head(x); got != want {
			t.Fatalf("verdict %d, want %d", got, want)
		}
		checkList(t, x, "RateLimit-Policy", name, "q", float64(limit))
		checkList(t, x, "RateLimit", name, "r", -1)
		f.End(x, exchange.Replied)
	}
	return true
}

// checkList parses a field of two members, of which the first has the name and an
// integer parameter; want is its value, -1: any.
func checkList(t rapid.TB, x *exchange.Exchange, field, name, key string, want float64) {
	t.Helper()
	var lines []string
	x.Fields(func(n string, v []byte) bool {
		if n == field {
			lines = append(lines, string(v))
		}
		return true
	})
	v, err := parseSFV("list", lines...)
	list, _ := v.([]any)
	if err != nil || len(list) != 2 || len(lines) != 1 {
		t.Fatalf("%s: %q: %v", field, lines, err)
	}
	first := list[0].([]any)
	if first[0] != name {
		t.Errorf("%s: %q names %v, want %q", field, lines, first[0], name)
	}
	for _, e := range first[1].([]any) {
		pair := e.([]any)
		n, isNumber := pair[1].(float64)
		if isNumber && (n < 0 || n != float64(int64(n))) {
			t.Errorf("%s: %q has a parameter that is no whole number", field, lines)
		}
		if pair[0] == key && (want < 0 || n == want) {
			return
		}
	}
	t.Errorf("%s: %q has no %s=%v", field, lines, key, want)
}

// Whatever a policy says, its fields are structured fields, or it is refused.
func TestFieldsAreStructured(t *testing.T) {
	names := rapid.OneOf(
		rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?`), rapid.String(),
		rapid.SampledFrom([]string{`"`, `a";q=1`, "a\r\nX: y", "ä", "A", "-a", "a,b", "a\\", "", strings.Repeat("a", 64)}),
	)
	numbers := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(1, 1e6), rapid.SampledFrom([]uint64{
		0, 1, 1e6, 1<<32 - 1, 1 << 32, 366 * 24 * 3600 * 1e6, 999_999_999_999_999, 1_000_000_000_000_000, 1<<63 - 1, 1<<64 - 1,
	}))
	windows := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(1, 366*24*3600), rapid.SampledFrom([]uint64{0, 1, 60, 366 * 24 * 3600, 366*24*3600 + 1}))
	rapid.Check(t, func(t *rapid.T) {
		checkFields(t, names.Draw(t, "name"), numbers.Draw(t, "limit"), windows.Draw(t, "window"), snapshot.Algorithm(rapid.IntRange(1, 4).Draw(t, "algorithm")))
	})
}

// The greatest numbers that a policy can have are still integers of a structured field.
func TestGreatestNumbers(t *testing.T) {
	const year = 366 * 24 * 3600
	for name, c := range map[string]struct {
		algorithm snapshot.Algorithm
		limit     uint64
	}{
		"SlidingWindow": {snapshot.Algorithm_ALGORITHM_SLIDING_WINDOW, 1<<32 - 1},
		"TokenBucket":   {snapshot.Algorithm_ALGORITHM_TOKEN_BUCKET, year * 1e6},
		"FixedWindow":   {snapshot.Algorithm_ALGORITHM_FIXED_WINDOW, year * 1e6},
		"Concurrency":   {snapshot.Algorithm_ALGORITHM_CONCURRENCY, 1e6},
	} {
		t.Run(name, func(t *testing.T) {
			if !checkFields(t, strings.Repeat("a", 63), c.limit, year, c.algorithm) {
				t.Error("the limit is refused")
			}
		})
	}
}
