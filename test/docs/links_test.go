// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are those that people read, by path from the root.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/design/*.md", "hack/*/*.md", "charts/*/*.md", "test/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, name)
		}
	}
	return out
}

// TestLinks: links within the repository lead to files, and to headings of them.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, name := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(withoutCode(page(t, name)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
				continue
			}
			if anchor != "" && !anchors(page(t, target))[anchor] {
				t.Errorf("%s links to %s, but %s has no such heading", name, m[1], target)
			}
		}
	}
}

var code = regexp.MustCompile("(?ms)^ *```.*?^ *```$|`[^`\n]+`")

func withoutCode(text string) string { return code.ReplaceAllString(text, "") }

// anchors are those that renderers make of headings.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(text, -1) {
		s := strings.ToLower(strings.TrimSpace(m[1]))
		s = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(s, "")
		out[strings.ReplaceAll(s, " ", "-")] = true
	}
	return out
}

// TestNoPlans: pages say what is so.
func TestNoPlans(t *testing.T) {
	for _, name := range pages(t) {
		if name == filepath.Join("docs", "api.md") {
			continue // generated from comments of the API
		}
		for i, line := range strings.Split(withoutCode(page(t, name)), "\n") {
			if regexp.MustCompile(`(?i)\b(coming soon|in the future|we plan|roadmap|todo)\b`).MatchString(line) {
				t.Errorf("%s:%d tells of plans: %s", name, i+1, line)
			}
		}
	}
}
