// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// page reads a page of the repository.
func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// goFiles parses the Go files under a folder that are no tests, by package folder.
func goFiles(t *testing.T, under string) map[string][]*ast.File {
	t.Helper()
	out := map[string][]*ast.File{}
	err := filepath.WalkDir(filepath.Join(root, under), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out[filepath.Dir(path)] = append(out[filepath.Dir(path)], f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("%s has no Go files", under)
	}
	return out
}

// literals are the string literals under a folder.
func literals(t *testing.T, under string) []string {
	t.Helper()
	var out []string
	for _, files := range goFiles(t, under) {
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := literal(n); ok {
					out = append(out, s)
				}
				return true
			})
		}
	}
	return out
}

func literal(n ast.Node) (string, bool) {
	l, ok := n.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

// constants are the string constants of a folder's packages by name, sums of
// other constants and literals among them.
func constants(files []*ast.File) map[string]string {
	out := map[string]string{}
	var value func(e ast.Expr) (string, bool)
	value = func(e ast.Expr) (string, bool) {
		switch e := e.(type) {
		case *ast.BasicLit:
			return literal(e)
		case *ast.Ident:
			s, ok := out[e.Name]
			return s, ok
		case *ast.BinaryExpr:
			x, ok1 := value(e.X)
			y, ok2 := value(e.Y)
			return x + y, ok1 && ok2 && e.Op == token.ADD
		}
		return "", false
	}
	each(files, func(s *ast.ValueSpec) {
		for i, name := range s.Names {
			if i < len(s.Values) {
				if v, ok := value(s.Values[i]); ok {
					out[name.Name] = v
				}
			}
		}
	})
	return out
}

// typed are the values of the constants of a type.
func typed(t *testing.T, under, typ string) []string {
	t.Helper()
	var out []string
	for _, files := range goFiles(t, under) {
		each(files, func(s *ast.ValueSpec) {
			if id, ok := s.Type.(*ast.Ident); ok && id.Name == typ && len(s.Values) == 1 {
				if v, ok := literal(s.Values[0]); ok {
					out = append(out, v)
				}
			}
		})
	}
	return set(out)
}

func each(files []*ast.File, visit func(*ast.ValueSpec)) {
	for _, f := range files {
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				for _, s := range g.Specs {
					visit(s.(*ast.ValueSpec))
				}
			}
		}
	}
}

// matches are what the first group of a pattern catches.
func matches(pattern, text string) []string {
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return set(out)
}

func set(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// same fails when code and page do not name the same things.
func same(t *testing.T, code, page []string) {
	t.Helper()
	if len(code) == 0 {
		t.Fatal("the code names nothing: this test looks in the wrong place")
	}
	if d := cmp.Diff(code, page); d != "" {
		t.Errorf("in the code and on the page (-code +page):\n%s", d)
	}
}
