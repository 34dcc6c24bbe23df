// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

// answerReply sends a recorded response in place of asking the application. It may
// have been recorded over HTTP/1.
func (t *stream) answerReply(r *exchange.Reply) {
	t.x.Status, t.status = r.Status, r.Status
	h := t.header()
	bodyless := t.bodyless(r.Status)
	for i := range r.Header {
		f := &r.Header[i]
		switch {
		case rules.HopByHop(f.Name, f.Value), rules.EqualFold(f.Name, "transfer-encoding"):
		case rules.EqualFold(f.Name, "content-length") && (t.r.Method != http.MethodHead || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified):
		default:
			key := http.CanonicalHeaderKey(string(f.Name))
			h[key] = append(h[key], string(f.Value))
		}
	}
	if !bodyless && len(r.Trailer) == 0 {
		h["Content-Length"] = []string{strconv.Itoa(len(r.Body))}
	}
	if t.grpc {
		t.grpcStatus = parseStatus(h["Grpc-Status"])
	}
	t.addFields(h)
	t.w.WriteHeader(r.Status)
	if bodyless {
		return
	}
	for from := 0; from < len(r.Body); {
		// Each piece may take the client as long as a response may stand still.
		to := min(len(r.Body), from+bulk)
		if !t.put(r.Body[from:to]) {
			t.clientGone()
			return
		}
		from = to
		t.record.ResponseBytes = int64(to)
	}
	h = t.w.Header()
	for i := range r.Trailer {
		f := &r.Trailer[i]
		key := http.CanonicalHeaderKey(string(f.Name))
		h[http.TrailerPrefix+key] = append(h[http.TrailerPrefix+key], string(f.Value))
		if t.grpc && key == "Grpc-Status" {
			t.grpcStatus = parseStatus([]string{string(f.Value)})
		}
	}
}

// setUpstream makes of h what filters have set for the application.
func (t *stream) setUpstream(h http.Header) {
	if !t.x.HasUpstream() {
		return
	}
	for name := range h {
		if t.x.SetsUpstream(bytesOf(name)) {
			delete(h, name)
		}
	}
	t.x.Upstream(func(name string, value []byte) bool {
		if len(value) > 0 {
			key := http.CanonicalHeaderKey(name)
			h[key] = append(h[key], string(value))
		}
		return true
	})
}

// response is a response over HTTP/2 as filters see it.
type response struct{ r *http.Response }

func (t *stream) responseOf(r *http.Response) exchange.ResponseHeaders {
	t.response.r = r
	return &t.response
}

// Header implements exchange.Headers.
func (r *response) Header(name string) (value []byte, count int) {
	for key, values := range r.r.Header {
		if len(values) > 0 && rules.EqualFold(bytesOf(key), name) {
			return rules.Trim(bytesOf(values[0])), len(values)
		}
	}
	return nil, 0
}

// Each implements exchange.ResponseHeaders.
func (r *response) Each(yield func(name, value []byte) bool) {
	each(r.r.Header, func(name, value []byte) bool {
		return rules.HopByHop(name, value) || rules.EqualFold(name, "transfer-encoding") || yield(name, value)
	})
}

// Trailers implements exchange.ResponseHeaders. net/http fills them at the end of the
// body.
func (r *response) Trailers(yield func(name, value []byte) bool) { each(r.r.Trailer, yield) }

func each(h http.Header, yield func(name, value []byte) bool) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			if !yield(bytesOf(name), bytesOf(v)) {
				return
			}
		}
	}
}
