// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"
)

// FuzzForwarded begins with the corpus. Whatever a client sends, net/http reads
// what the proxy forwards as the requests that the filters saw.
func FuzzForwarded(f *testing.F) {
	for _, c := range corpus(f, "*.yaml") {
		if raw := c.raw(); c.Weir != refuse && len(c.Origin) == 0 && len(raw) < 4<<10 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 32<<10 {
			t.Skip()
		}
		c := &testCase{Weir: either, pieces: [][]byte{raw}}
		buffered := through(t, c, true)
		streamed := through(t, c, false)
		for i, s := range streamed.sent() {
			if b := buffered.sent(); i < len(b) && b[i].whole {
				s.Body, s.whole = b[i].Body, true
			}
		}
		for mode, p := range map[string]*proxied{"buffered": buffered, "streamed": streamed} {
			if err := agree(p.sent(), parse(p.forwarded)); err != nil {
				t.Errorf("%s: %v", mode, err)
				for _, c := range p.forwarded {
					t.Logf("forwarded: %q", c.pieces)
				}
			}
			if len(p.rest) > 0 {
				t.Errorf("%s: the client got what is no response: %q", mode, p.rest)
			}
		}
	})
}

// parse reads what connections carried with net/http's parser, without a server.
func parse(conns []*received) reading {
	var out reading
	for _, c := range conns {
		br := bufio.NewReader(bytes.NewReader(bytes.Join(c.pieces, nil)))
		for {
			r, err := http.ReadRequest(br)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(r.Body)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					out.refused = http.StatusBadRequest
				}
				break
			}
			out.requests = append(out.requests, request{r.Method, r.RequestURI, string(body)})
		}
	}
	return out
}
