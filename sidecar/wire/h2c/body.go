// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
)

var (
	errTooLarge = errors.New("the body is longer than the port allows")
	errStalled  = errors.New("the client has kept a body waiting for too long")
)

// maxReplay is how much of a body is kept until the application has answered: it
// may say that it has not processed the request, and then gets it once more.
const maxReplay = 16 << 10

// body is a request's body on its way to the application. Another goroutine than
// the stream's reads it, and may still do so when the stream has ended.
type body struct {
	r *http.Request
	// limit is 0 where there is none.
	limit int64
	// patient: the client may take its time with it, as with the messages of a
	// gRPC call.
	patient bool
	// taken is how many bytes of it have come from the client.
	taken atomic.Int64
	// begun: somebody has begun to read it.
	begun atomic.Bool
	// ended: the last byte, and the trailers, were read.
	ended atomic.Bool
	// closed: the application takes no more of it.
	closed atomic.Bool
	// sending: something of the request may have reached the application.
	sending atomic.Bool
	// failed is why the client's body ended early.
	failed atomic.Pointer[error]
	// keep: kept is all that was read, unless over says that it was too much.
	keep atomic.Bool
	kept []byte
	over bool
	// resumed: the beginning was read for a filter, and prefix is what of it is still to
	// be read again.
	resumed bool
	prefix  []byte
	// trailer is filled when the body ends, nil where none was announced.
	trailer http.Header
	// onEnd, if not nil, is called once when the body has been read.
	onEnd func()
	watch watch
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if err := b.failed.Load(); err != nil {
		return 0, *err
	}
	if len(b.prefix) > 0 {
		n := copy(p, b.prefix)
		b.prefix = b.prefix[n:]
		return n, nil
	}
	if b.ended.Load() {
		return 0, io.EOF
	}
	b.begun.Store(true)
	if !b.patient {
		b.watch.begin(&b.watch.reading)
	}
	n, err := b.r.Body.Read(p)
	taken := b.taken.Add(int64(n))
	if err == nil && taken == b.r.ContentLength {
		// The last piece waits for the stream's end: one that has more than its
		// length says is malformed, and must not look whole to the application.
		if err = b.atEnd(); !errors.Is(err, io.EOF) {
			n = 0
		}
	}
	b.watch.reading.Store(0)
	if b.limit > 0 && taken > b.limit {
		n, err = 0, errTooLarge
	}
	b.remember(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		b.fillTrailer()
		b.ended.Store(true)
		if b.onEnd != nil {
			b.onEnd()
		}
	case err != nil && !b.closed.Load():
		if b.watch.stalled.Load() {
			err = errStalled
		}
		b.failed.CompareAndSwap(nil, &err)
	}
	return n, err
}

var errTooLong = errors.New("the body is longer than its length says")

// atEnd returns io.EOF when nothing follows.
func (b *body) atEnd() error {
	var more [1]byte
	n, err := b.r.Body.Read(more[:])
	if n > 0 || err == nil {
		return errTooLong
	}
	return err
}

// empty waits for the end of a body whose length was said to be 0: nothing may
// follow but trailers.
func (b *body) empty() error {
	b.watch.begin(&b.watch.reading)
	err := b.atEnd()
	b.watch.reading.Store(0)
	if errors.Is(err, io.EOF) {
		b.fillTrailer()
		return nil
	}
	if b.watch.stalled.Load() {
		err = errStalled
	}
	b.failed.CompareAndSwap(nil, &err)
	return err
}

func (b *body) remember(p []byte) {
	if b.keep.Load() && !b.over && len(b.kept)+len(p) <= maxReplay {
		b.kept = append(b.kept, p...)
		return
	}
	b.over = b.over || len(p) > 0
	b.kept = nil
}

func (b *body) fillTrailer() {
	for name := range b.trailer {
		b.trailer[name] = b.r.Trailer[name]
	}
}

// Close implements io.Closer: what waits for more of the body does so no longer.
func (b *body) Close() error {
	if b.closed.Swap(true) || b.ended.Load() {
		return nil
	}
	return b.r.Body.Close()
}

// Values of exchange.Record.Aborted beside those of wirehttp.UpstreamError; they
// are those of HTTP/1.
const (
	abortedClientGone = "client-gone"
	abortedBadBody    = "malformed-body"
	abortedTooLarge   = "body-too-large"
)

// aborted is Record.Aborted for a body that could not be read.
func aborted(err error) string {
	switch {
	case errors.Is(err, errTooLarge):
		return abortedTooLarge
	case errors.Is(err, errStalled):
		return abortedClientGone
	}
	return abortedBadBody
}

// bodyDenial answers for a body that could not be read.
func (t *stream) bodyDenial(err error) exchange.Denial {
	switch {
	case errors.Is(err, errTooLarge):
		return rules.BodyTooLarge()
	case errors.Is(err, errStalled):
		return rules.Problem(http.StatusRequestTimeout, rules.ProblemRequestTimeout, "Request Timeout", "The body of the request did not come in time.")
	}
	return rules.Malformed("The body ends before its end.")
}
