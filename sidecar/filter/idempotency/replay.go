// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"bytes"
	"compress/gzip"
	"io"
	"strconv"
	"strings"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/ledger"
)

// maxDecoded bounds a body that is decoded for a client: what gzip makes of a few KiB
// can be anything.
const maxDecoded = 16 << 20

// replay answers with a response that was recorded.
func (f *Filter) replay(x *exchange.Exchange, r ledger.Result) exchange.Verdict {
	status := "replayed"
	if r.Kind == ledger.Joined {
		status = "joined"
		f.count(Joined)
	} else {
		f.count(Replayed)
	}
	if r.Mismatch {
		status += "; mismatch"
	}
	x.Add(fieldStatus, []byte(status))
	x.Add(fieldReplayed, []byte("true"))
	x.Replayed = true
	x.Answer(decoded(x, r.Reply))
	return exchange.Respond
}

// decoded is the response without gzip where the client has not asked for it; as it is
// where that cannot be done, or may not be (RFC 9110 section 7.7).
func decoded(x *exchange.Exchange, r *exchange.Reply) *exchange.Reply {
	coding, ok := one(r.Header, "content-encoding")
	if !ok || len(r.Body) == 0 || !equalFold(coding, "gzip") && !equalFold(coding, "x-gzip") || accepts(x) {
		return r
	}
	if control, _ := one(r.Header, "cache-control"); strings.Contains(strings.ToLower(string(control)), "no-transform") {
		return r
	}
	z, err := gzip.NewReader(bytes.NewReader(r.Body))
	if err != nil {
		return r
	}
	body, err := io.ReadAll(io.LimitReader(z, maxDecoded+1))
	if err != nil || len(body) > maxDecoded {
		return r
	}
	out := &exchange.Reply{Status: r.Status, Body: body, Trailer: r.Trailer}
	for _, h := range r.Header {
		switch strings.ToLower(string(h.Name)) {
		// What names the bytes that were recorded names other bytes now.
		case "content-encoding", "etag", "content-digest", "repr-digest", "digest", "content-md5":
		default:
			out.Header = append(out.Header, h)
		}
	}
	return out
}

// one returns the value of a field that is there once.
func one(list []exchange.Field, name string) (value []byte, ok bool) {
	n := 0
	for _, h := range list {
		if equalFold(h.Name, name) {
			value = h.Value
			n++
		}
	}
	return value, n == 1
}

// accepts reports whether the client takes gzip: it has to say so. RFC 9110 lets a
// client that says nothing be sent anything, but one that cannot decode says nothing.
func accepts(x *exchange.Exchange) bool {
	field, n := x.Request.Header("accept-encoding")
	if n != 1 {
		return n > 1
	}
	any := false
	for item := range strings.SplitSeq(string(field), ",") {
		coding, params, _ := strings.Cut(item, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(params), "=")
		weight := 1.0
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				weight = q
			}
		}
		switch coding = strings.TrimSpace(coding); {
		case strings.EqualFold(coding, "gzip"), strings.EqualFold(coding, "x-gzip"):
			return weight > 0
		case coding == "*":
			any = weight > 0
		}
	}
	return any
}
