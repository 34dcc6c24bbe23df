// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"net/http"
	"net/textproto"
	"sync"
)

// maxInterim bounds the interim responses that wait for a client.
const maxInterim = 8

// interim sends on the 1xx responses to a request. They come on the goroutine that
// reads for all requests to the application, which must not wait for one client.
type interim struct {
	t *stream

	mu      sync.Mutex
	waiting []interimResponse
	// done is closed when none is left; nil while none is being sent.
	done     chan struct{}
	finished bool
}

type interimResponse struct {
	code   int
	fields http.Header
}

// got is httptrace's Got1xxResponse.
func (in *interim) got(code int, fields textproto.MIMEHeader) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.finished || len(in.waiting) == maxInterim {
		return nil
	}
	r := interimResponse{code: code, fields: http.Header{}}
	copyFields(r.fields, http.Header(fields))
	in.waiting = append(in.waiting, r)
	if in.done == nil {
		in.done = make(chan struct{})
		go in.send()
	}
	return nil
}

func (in *interim) send() {
	t := in.t
	for {
		in.mu.Lock()
		if len(in.waiting) == 0 {
			close(in.done)
			in.done = nil
			in.mu.Unlock()
			return
		}
		r := in.waiting[0]
		in.waiting = in.waiting[1:]
		in.mu.Unlock()
		h := t.w.Header()
		for name, values := range r.fields {
			h[name] = values
		}
		t.writeInterim(h, r.code)
	}
}

// writeInterim sends h as an interim response and empties it. net/http still reads
// the header that it was given when the stream has ended meanwhile; it copies one
// that has Transfer-Encoding, and leaves that out.
func (t *stream) writeInterim(h http.Header, code int) {
	h["Transfer-Encoding"] = nil
	t.w.WriteHeader(code)
	clear(h)
}

// finish waits for those that have come, before anything else is sent.
func (in *interim) finish() {
	in.mu.Lock()
	in.finished = true
	done := in.done
	in.mu.Unlock()
	if done != nil {
		<-done
	}
}
