// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

// Field is the name of the field.
const Field = "weir-delivery"

// MaxOperation is how long an operation's id may be.
const MaxOperation = 128

const (
	version   = "v1"
	signature = ";sig="
	// longest is the length of the longest field.
	longest = len("v1;op=;attempt=4294967295;exp=253402300799;sig=") + MaxOperation + 43
	// maxExpires is the end of the year 9999.
	maxExpires = 253402300799
)

// ErrField says that a field is not valid.
var ErrField = errors.New("the field weir-delivery is not valid")

// Sign returns the field for d, under the key for the purpose "delivery".
func Sign(key []byte, d exchange.Delivery) (string, error) {
	t := d.Expires.Unix()
	if !isOperation([]byte(d.Operation)) || d.Attempt == 0 || t <= 0 || t > maxExpires {
		return "", fmt.Errorf("%w: operation %q, attempt %d, expires %v", ErrField, d.Operation, d.Attempt, d.Expires)
	}
	text := fmt.Appendf(nil, "%s;op=%s;attempt=%d;exp=%d", version, d.Operation, d.Attempt, t)
	mac := sum(key, text)
	text = append(text, signature...)
	return string(base64.RawURLEncoding.AppendEncode(text, mac[:])), nil
}

func sum(key, text []byte) (out [sha256.Size]byte) {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(text)
	h.Sum(out[:0])
	return out
}

// Verify reads a field that one of the keys has signed and that holds at now.
func Verify(field []byte, now time.Time, keys ...[]byte) (exchange.Delivery, error) {
	if len(field) > longest {
		return exchange.Delivery{}, ErrField
	}
	at := bytes.LastIndex(field, []byte(signature))
	if at < 0 {
		return exchange.Delivery{}, ErrField
	}
	text := field[:at]
	var mac [sha256.Size]byte
	n, err := base64.RawURLEncoding.Strict().Decode(mac[:], limit(field[at+len(signature):]))
	if err != nil || n != len(mac) {
		return exchange.Delivery{}, ErrField
	}
	signed := false
	for _, key := range keys {
		want := sum(key, text)
		signed = hmac.Equal(mac[:], want[:]) || signed
	}
	if !signed {
		return exchange.Delivery{}, ErrField
	}
	return parse(text, now)
}

// limit makes a signature that is too long an invalid one: Decode would write past mac.
func limit(b []byte) []byte {
	if len(b) != base64.RawURLEncoding.EncodedLen(sha256.Size) {
		return nil
	}
	return b
}

func parse(text []byte, now time.Time) (exchange.Delivery, error) {
	d := exchange.Delivery{}
	rest, ok := bytes.CutPrefix(text, []byte(version+";op="))
	op, rest, found := bytes.Cut(rest, []byte(";attempt="))
	attempt, exp, also := bytes.Cut(rest, []byte(";exp="))
	n, fits := number(attempt, math.MaxUint32)
	t, too := number(exp, maxExpires)
	if !ok || !found || !also || !fits || !too || !isOperation(op) {
		return d, ErrField
	}
	d.Operation, d.Attempt, d.Expires = string(op), uint32(n), time.Unix(int64(t), 0)
	if !now.Before(d.Expires) {
		return exchange.Delivery{}, fmt.Errorf("%w any more: it has expired", ErrField)
	}
	return d, nil
}

// number reads a number from 1 on without zeros before it.
func number(b []byte, most uint64) (uint64, bool) {
	if len(b) == 0 || b[0] < '1' || b[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	return n, err == nil && n <= most
}

func isOperation(b []byte) bool {
	if len(b) == 0 || len(b) > MaxOperation {
		return false
	}
	for _, c := range b {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}
