// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/manifest"
)

// limit draws one that the schema takes.
func limit(t *rapid.T, i int) string {
	draw := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	window := rapid.IntRange(1, 99_999).Draw(t, "window")
	n := rapid.IntRange(1, min(window*1_000_000, 4_000_000_000)).Draw(t, "limit")
	fields := []string{
		fmt.Sprintf("name: l%d", i), fmt.Sprintf("limit: %d", n), fmt.Sprintf("window: %ds", window),
		draw("scope", "scope: Pod", "scope: Cluster"), draw("mode", "mode: Enforce", "mode: Shadow"),
		draw("missing", "onMissingKey: ClientIP", "onMissingKey: Skip", "onMissingKey: Deny"),
		draw("headers", "headers: Emit", "headers: Hide"),
	}
	switch algorithm := draw("algorithm", "SlidingWindow", "TokenBucket", "FixedWindow"); algorithm {
	case "TokenBucket":
		fields = append(fields, "algorithm: TokenBucket", fmt.Sprintf("burst: %d", rapid.IntRange(1, 10*n).Draw(t, "burst")))
	default:
		fields = append(fields, "algorithm: "+algorithm)
	}
	path := draw("path", "", "{type: Exact, value: /pay}", "{type: Prefix, value: /}", "{type: Prefix, value: /a/b/}",
		`{type: Template, value: "/users/{id}/x/{other}"}`, `{type: Template, value: "/{id}"}`, `{type: Exact, value: "/a%20b/é"}`)
	match := []string{draw("methods", "methods: [GET]", "methods: [PUT, DELETE, POST]")}
	if path != "" {
		match = append(match, "path: "+path)
	}
	if h := draw("header", "", "headers: [{name: X-Env, value: prod}, {name: x-b, value: \"\"}]"); h != "" {
		match = append(match, h)
	}
	fields = append(fields, "match: [{http: {"+strings.Join(match, ", ")+"}}]")
	keys := []string{"{header: X-Client-Id}", "{clientIP: {}}", "{clientIP: {ipv6PrefixLength: 1}}"}
	if strings.Contains(path, "{id}") {
		keys = append(keys, "{pathParam: id}")
	}
	key := rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 0, 3, rapid.ID[string]).Draw(t, "key")
	if len(key) > 0 {
		fields = append(fields, "key: ["+strings.Join(key, ", ")+"]")
	}
	return "  - {" + strings.Join(fields, ", ") + "}\n"
}

// What the operator accepts, no sidecar refuses.
func TestTheEngineTakesWhatTheCompilerAccepts(t *testing.T) {
	decoder, err := manifest.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	p := New(slog.New(slog.DiscardHandler), io.Discard, "test", "")
	defer p.Close(time.Second)
	rapid.Check(t, func(t *rapid.T) {
		text := "apiVersion: weir.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n" +
			"  targetRefs: [{name: payments, sectionName: http}]\n" +
			rapid.SampledFrom([]string{"", "  failurePolicy: Open\n", "  failurePolicy: Closed\n", "  response: {headers: None}\n"}).Draw(t, "policy") +
			"  limits:\n"
		for i := range rapid.IntRange(1, 5).Draw(t, "limits") {
			text += limit(t, i)
		}
		r, errs := decoder.Decode(t.Context(), "p.yaml", []byte(text))
		if len(errs) > 0 {
			t.Fatalf("the schema refuses it: %v\n%s", errs, text)
		}
		policies := local.Policies{Namespace: "shop", Objects: r.Objects}
		result, err := local.Compile(policies, local.Implied(policies), local.Settings{})
		if err != nil {
			t.Fatal(err)
		}
		if v := result.Verdicts[0]; !v.Accepted {
			t.Fatalf("the compiler refuses it: %s\n%s", v.Message, text)
		}
		if err := p.Apply(result.Snapshot, nil, nil); err != nil {
			t.Fatalf("the engine refuses it: %v\n%s", err, text)
		}
	})
}
