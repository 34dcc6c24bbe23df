// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"crypto/sha1" //nolint:gosec // how Redis names scripts
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"

	"weir.dev/weir/sidecar/filter/limiter"
)

//go:embed limits.lua
var limitsLua string

type script struct{ source, sha string }

func production() *script { return newScript(limitsLua) }

func newScript(source string) *script {
	sum := sha1.Sum([]byte(source)) //nolint:gosec // how Redis names scripts
	return &script{source: source, sha: hex.EncodeToString(sum[:])}
}

// errReply is an answer that is not the script's.
var errReply = errors.New("the script's reply is malformed")

// decode sets the decisions of a step that has run.
func (st *step) decode() error {
	text, err := st.cmd.Text()
	if err != nil {
		return err
	}
	for i := range st.ops {
		var n [5]int64
		for k := range n {
			if n[k], text, err = number(text); err != nil {
				return err
			}
		}
		st.ops[i].Decision = limiter.Decision{
			Allowed:   n[0] == 1,
			Banned:    n[0] == 2,
			Remaining: uint64(n[1]),
			Retry:     n[2],
			Reset:     n[3],
			Receipt:   n[4],
		}
		if !st.ops[i].Rule.IsLeased() {
			continue
		}
		for k := range n[:2] {
			if n[k], text, err = number(text); err != nil {
				return err
			}
		}
		st.ops[i].Decision.Lease = limiter.Lease{N: uint64(n[0]), Level: n[1]}
	}
	return nil
}

// number reads a number and the space after it.
func number(text string) (n int64, rest string, err error) {
	for i := 0; i < len(text) && i < 19; i++ {
		c := text[i]
		switch {
		case '0' <= c && c <= '9':
			n = n*10 + int64(c-'0')
		case c == ' ' && i > 0:
			return n, text[i+1:], nil
		default:
			return 0, "", fmt.Errorf("%w: %.40q", errReply, text)
		}
	}
	return 0, "", fmt.Errorf("%w: %.40q", errReply, text)
}
