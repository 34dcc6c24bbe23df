// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"go/ast"
	"strings"
)

// uses are the names of the cobra commands of a file, but the root's.
func uses(f *ast.File) []string {
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		kv, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		if key, ok := kv.Key.(*ast.Ident); !ok || key.Name != "Use" {
			return true
		}
		if s, ok := literal(kv.Value); ok && s != "weir" {
			name, _, _ := strings.Cut(s, " ")
			out = append(out, name)
		}
		return true
	})
	return out
}
