// SPDX-License-Identifier: Apache-2.0

package http

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// ReadBody reads the client's body for the leg.
func (t *txn) ReadBody(p []byte) (int, error) {
	n, err := t.body.Read(p)
	switch {
	case t.maxBody > 0 && t.body.size > t.maxBody:
		return n, ErrBodyTooLarge
	case t.body.ended:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	}
	if badBody(err) {
		err = fmt.Errorf("%w: %w", ErrBadBody, err)
	}
	return n, err
}

// badBody reports whether err is about the bytes of the body and not about the
// connection.
func badBody(err error) bool {
	var ne net.Error
	return err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &ne) && !errors.Is(err, net.ErrClosed)
}

// ExtendRead moves the deadline of reading from the client.
func (t *txn) ExtendRead(until time.Time) { _ = t.c.nc.SetReadDeadline(until) }

// ExtendWrite moves the deadline of writing to the client.
func (t *txn) ExtendWrite(until time.Time) { _ = t.c.nc.SetWriteDeadline(until) }

// Gone reports whether nobody waits for the response any more: the client has closed
// or reset the connection, and no recorder wants what it does not.
func (t *txn) Gone() bool {
	if t.until.IsZero() {
		if !t.c.clientGone() {
			return false
		}
		if !t.x.Record {
			return true
		}
		t.recordOn()
	}
	return !t.x.Record || t.s.ctx.Err() != nil || !time.Now().Before(t.until)
}
