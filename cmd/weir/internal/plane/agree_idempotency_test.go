// SPDX-License-Identifier: Apache-2.0

package plane

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/manifest"
	"weir.dev/weir/sidecar/nskey"
)

// fields are values of spec, of which each policy has any; "" leaves a field out. Each is
// good by itself and with every other.
var fields = [][]string{
	{"", "mode: Shadow"},
	{"", "match: [{http: {methods: [POST, PATCH]}}]", "match: [{http: {path: {type: Prefix, value: /a}}}, {http: {headers: [{name: X-A, value: b}]}}]"},
	{"", "guarantee: AtLeastOnce\n  failurePolicy: Open", "guarantee: AtLeastOnce", "failurePolicy: Closed"},
	{"", "key: {onMissing: Reject, maxLength: 1024}", "key: {maxLength: 1, sources: [{jsonPointer: /a~1b}, {header: X-Key}, {jsonPointer: /0/k}]}",
		"key: {onMissing: Derive, derive: {from: [{jsonPointer: /o}, {header: X-O}], window: 1s}}"},
	{"scope: [{header: X-A}]", "scope: [{cookie: c}, {queryParam: q}]", "scope: [{clientIP: {ipv6PrefixLength: 128}}]", "scope: [{clientIP: {}}, {header: X-A}, {header: x-a}]"},
	{"", "fingerprint: {include: [Method]}", "fingerprint: {excludeJSONPointers: [/b, /a/0], onMismatch: Warn}", "fingerprint: {include: [Body, Query]}"},
	{"", "request: {maxBytes: 16Mi}", `request: {maxBytes: "1", onOversize: Pass}`},
	{"", "inFlight: {lease: 100ms, wait: 0s}", "inFlight: {lease: 2m59s, wait: 1s}"},
	{"", "upstream: {timeout: 5s, lateWindow: 0s}"},
	{"retention: 3m", "retention: 8784h", "retention: 24h"},
	{"", "response: {maxBytes: 4Mi, releaseStatuses: [], denyHeaders: [X-B, x-b, A]}", "response: {releaseStatuses: [599, 200, 503]}"},
	{"", "encryption: {secretRef: {name: keys}}", "encryption: {secretRef: {name: keys, key: other}}"},
}

const keysSecret = `
---
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: shop, labels: {weir.dev/use: "true"}}
stringData: {secret: 0123456789abcdef, previous: 0123456789abcdef0, other: 0123456789abcdef0123456789abcdef}
`

// What the operator accepts of IdempotencyPolicies, no sidecar refuses.
func TestTheEngineTakesWhatTheCompilerAcceptsOfIdempotency(t *testing.T) {
	decoder, err := manifest.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	key, err := nskey.Local("", local.ClusterID, "shop")
	if err != nil {
		t.Fatal(err)
	}
	p := New(slog.New(slog.DiscardHandler), io.Discard, "test", "")
	defer p.Close(time.Second)
	rapid.Check(t, func(t *rapid.T) {
		text := "apiVersion: weir.dev/v1alpha1\nkind: IdempotencyPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n" +
			"  targetRefs: [{name: payments, sectionName: http}]\n"
		for _, values := range fields {
			if v := rapid.SampledFrom(values).Draw(t, strings.SplitN(values[len(values)-1], ":", 2)[0]); v != "" {
				text += "  " + v + "\n"
			}
		}
		r, errs := decoder.Decode(t.Context(), "p.yaml", []byte(text+keysSecret))
		if len(errs) > 0 {
			t.Fatalf("the schema refuses it: %v\n%s", errs, text)
		}
		policies := local.Policies{Namespace: "shop", Objects: r.Objects}
		result, err := local.Compile(policies, local.Implied(policies), local.Settings{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if v := result.Verdicts[0]; !v.Accepted {
			t.Fatalf("the compiler refuses it: %s\n%s", v.Message, text)
		}
		if err := p.Apply(result.Snapshot, result.Secrets, nil); err != nil {
			t.Fatalf("the engine refuses it: %v\n%s", err, text)
		}
	})
}
