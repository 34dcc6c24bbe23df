// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// exportMethod is OTLP's, https://opentelemetry.io/docs/specs/otlp/#otlpgrpc.
const exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"

// sender is the goroutine's side of an Exporter.
type sender struct {
	e    *Exporter
	conn *grpc.ClientConn
	buf  []byte
	// away: the last batch was lost, and the log has a line about it.
	away bool
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// send delivers a batch, or counts it as dropped.
func (s *sender) send(batch []*span) {
	s.buf = encode(s.buf[:0], s.e.opts.Resource(), s.e.opts.Version, batch)
	lost, err := s.deliver(s.buf)
	if err != nil {
		lost = len(batch)
	}
	if lost > 0 {
		s.e.opts.Dropped(min(lost, len(batch)))
	}
	switch {
	case err != nil && !s.away:
		s.e.opts.Log.Warn("the trace collector takes no spans: they are dropped until it does", "error", err)
	case err == nil && s.away:
		s.e.opts.Log.Info("the trace collector takes spans again")
	}
	s.away = err != nil
}

// deliver calls the collector until it has answered, the answer is final, or
// there has been time enough. It returns how many spans the collector refused.
func (s *sender) deliver(request []byte) (refused int, err error) {
	t := &s.e.opts.times
	began, backoff := time.Now(), t.backoff
	for {
		refused, err = s.call(request)
		if err == nil {
			return refused, nil
		}
		again, after := retryable(err)
		if !again {
			return 0, err
		}
		// Half to one and a half times the backoff, so that pods do not call in step.
		wait := max(after, backoff/2+rand.N(backoff))
		backoff = min(2*backoff, t.maxBackoff)
		if time.Since(began)+wait > t.giveUp {
			// The collector may have asked for quiet; the next batch keeps it too.
			s.sleep(min(after, t.giveUp))
			return 0, err
		}
		if !s.sleep(wait) {
			return 0, err
		}
	}
}

// sleep reports false when the exporter waits no longer.
func (s *sender) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.e.sending.Done():
		return false
	}
}

func (s *sender) call(request []byte) (refused int, err error) {
	if s.conn == nil {
		if s.conn, err = s.e.opts.Dial(); err != nil {
			return 0, fmt.Errorf("connect: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(s.e.sending, s.e.opts.times.call)
	defer cancel()
	var reply []byte
	if err := s.conn.Invoke(ctx, exportMethod, request, &reply, grpc.ForceCodecV2(rawCodec{})); err != nil {
		return 0, err
	}
	return rejected(reply), nil
}

// retryable tells what OTLP says of a failed call, and how long the collector
// wants to be left alone (RetryInfo).
func retryable(err error) (again bool, after time.Duration) {
	st, ok := status.FromError(err)
	if !ok {
		return false, 0
	}
	info := false
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			info, after = true, max(r.GetRetryDelay().AsDuration(), 0)
		}
	}
	switch st.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return true, after
	case codes.ResourceExhausted:
		return info, after
	default:
		return false, 0
	}
}

// rawCodec sends and receives messages as the bytes they are.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("a request is bytes, not %T", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a reply is bytes, not %T", v)
	}
	*b = data.Materialize()
	return nil
}
