// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxFieldPath is how many ids lead to a field at the most.
const maxFieldPath = 16

// FieldPath reads the ids that lead to a field of a call's arguments, as in 1.3.
func FieldPath(s string) ([]int16, error) {
	var path []int16
	for part := range strings.SplitSeq(s, ".") {
		id, err := strconv.ParseInt(part, 10, 32)
		if err != nil || id < 1 || id > math.MaxInt16 || len(path) == maxFieldPath {
			return nil, fmt.Errorf("%q is no path of at most %d ids, each from 1 to %d", s, maxFieldPath, math.MaxInt16)
		}
		path = append(path, int16(id))
	}
	return path, nil
}

func validateThriftAnswers(t *ThriftAnswers) error {
	switch {
	case t.GetExceptionCode() < 0:
		return fmt.Errorf("exception_code is %d", t.GetExceptionCode())
	case t.GetExceptionField() < 0 || t.GetExceptionField() > math.MaxInt16:
		return fmt.Errorf("exception_field is %d", t.GetExceptionField())
	}
	return ordered("oneway_methods", t.GetOnewayMethods())
}

// SpeaksOfThrift reports whether a policy has anything in it that is about calls of
// Thrift alone.
func SpeaksOfThrift(p Policy) bool {
	for k := range KeyParts(p) {
		switch k.GetKind().(type) {
		case *KeyPart_ThriftHeader, *KeyPart_ThriftField:
			return true
		}
	}
	for m := range Matches(p) {
		if m.GetThrift() != nil {
			return true
		}
	}
	l, is := p.(*RateLimitPolicy)
	return is && l.GetThrift() != nil
}
