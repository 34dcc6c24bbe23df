// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"weir.dev/weir/controllers/inject"
)

// TestProblems: every type URI of the data plane has a section.
func TestProblems(t *testing.T) {
	uri := regexp.MustCompile(`^https://(weir\.dev/problems/[a-z-]+|iana\.org/assignments/http-problem-types#[a-z-]+)$`)
	var code []string
	for _, files := range goFiles(t, "sidecar") {
		for _, v := range constants(files) {
			if uri.MatchString(v) {
				code = append(code, v)
			}
		}
	}
	text := page(t, "docs/problems.md")
	same(t, set(code), matches("(?m)^`(https://[^`]+)`, \\*\\*[45]\\d\\d\\*\\*", text))
	for _, u := range code {
		slug := u[strings.LastIndexAny(u, "/#")+1:]
		if !strings.Contains(text, fmt.Sprintf("### %s\n\n`%s`", slug, u)) {
			t.Errorf("docs/problems.md has no section ### %s that begins with its URI", slug)
		}
	}
}

// TestProblemsAreConstants: a type that is put together elsewhere would escape
// TestProblems.
func TestProblemsAreConstants(t *testing.T) {
	for _, l := range literals(t, "sidecar") {
		if strings.Contains(l, "weir.dev/problems/") && l != "https://weir.dev/problems/" && !regexp.MustCompile(`^https://weir\.dev/problems/[a-z-]+$`).MatchString(l) {
			t.Errorf("%q is no problem type of its own: make it a constant", l)
		}
	}
}

func TestChecks(t *testing.T) {
	same(t, typed(t, "cmd/weir/internal/finding", "Code"), matches("(?m)^\\| (WEIR\\d{4}) \\|", page(t, "docs/checks.md")))
}

// TestInjectionReasons: every code is in the table of its effect.
func TestInjectionReasons(t *testing.T) {
	text := page(t, "docs/injection.md")
	codes := typed(t, "controllers/inject", "Code")
	same(t, codes, matches("(?m)^\\| `([A-Z][A-Za-z]+)` \\|", text))
	heading := map[inject.Effect]string{
		inject.EffectSkip: "### The pod runs without sidecar", inject.EffectRefuse: "### The pod is refused", inject.EffectNote: "### The pod is injected",
	}
	for _, c := range codes {
		before, _, _ := strings.Cut(text, "\n| `"+c+"` |")
		at := before[strings.LastIndex(before, "\n### ")+1:]
		if want := heading[inject.Code(c).Effect()]; !strings.HasPrefix(at, want+"\n") {
			t.Errorf("%s does not stand under %q", c, want)
		}
	}
}

func TestMetrics(t *testing.T) {
	var code []string
	for _, under := range []string{"sidecar", "controllers", "cmd"} {
		for _, l := range literals(t, under) {
			if regexp.MustCompile(`^weir_[a-z_]+$`).MatchString(l) {
				code = append(code, l)
			}
		}
	}
	same(t, set(code), matches("(?m)^\\| `(weir_[a-z_]+)` \\|", page(t, "docs/observability.md")))
}

// TestAnnotations: what users can write on pods, namespaces and Services.
func TestAnnotations(t *testing.T) {
	other := map[string]bool{ // written by Weir, not by users
		"weir.dev/injected": true, "weir.dev/image": true, "weir.dev/original": true, "weir.dev/sidecar": true,
		"weir.dev/thrift": true, // an appProtocol
	}
	var code []string
	for _, under := range []string{"api/podspec", "controllers"} {
		for _, l := range literals(t, under) {
			if regexp.MustCompile(`^weir\.dev/[a-z-]+$`).MatchString(l) && !other[l] {
				code = append(code, l)
			}
		}
	}
	var pages []string
	for _, name := range []string{"docs/injection.md", "docs/http.md", "docs/operations.md"} {
		pages = append(pages, matches("(?m)^\\| `(weir\\.dev/[a-z-]+)` \\|", page(t, name))...)
	}
	same(t, set(code), set(pages))
}

// TestCommands: every command of the CLI has a section.
func TestCommands(t *testing.T) {
	var code []string
	for _, files := range goFiles(t, "cmd/weir") {
		if files[0].Name.Name != "main" {
			continue
		}
		for _, f := range files {
			code = append(code, uses(f)...)
		}
	}
	same(t, set(code), matches("(?m)^##+ weir (?:[a-z-]+ )?([a-z-]+)$", page(t, "docs/cli.md")))
}
