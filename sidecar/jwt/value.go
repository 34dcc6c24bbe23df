// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"math"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4/json"
)

// value is a claim as it is counted: a string as it is, a number in one form for all
// ways to write it, true or false. Anything else, and what is empty or longer than
// MaxClaim, is nil.
func value(raw json.RawMessage) []byte {
	s, ok := text(raw)
	switch {
	case ok:
	case number(raw):
		s = numeral(string(raw))
	case string(raw) == "true" || string(raw) == "false":
		s = string(raw)
	}
	if s == "" || len(s) > MaxClaim {
		return nil
	}
	return []byte(s)
}

// numeral writes integers without exponent and fraction. Those that a float64 has no
// room for have one way to be written already.
func numeral(s string) string {
	if !strings.ContainsAny(s, ".eE") && s != "-0" {
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil:
		return ""
	case f == math.Trunc(f) && math.Abs(f) < 1<<53:
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}
