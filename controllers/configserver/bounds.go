// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/stream"
)

// Bounds of what a sidecar says.
const (
	maxFeatures = 64
	maxName     = 256
	maxReason   = 1024
	maxServing  = 256 << 10
	maxShadow   = 1024
	maxProblems = 256
	maxStores   = 64
	maxDetail   = 64

	// A sidecar may send burst messages in each period.
	period = 10 * time.Second
	burst  = 200
	// reportEvery is a little less than a sidecar's own 10 s.
	reportEvery = 8 * time.Second
)

// bounds counts one sidecar's messages.
type bounds struct {
	since    time.Time
	messages int
	reported time.Time
}

// message returns an error for the one that is too many.
func (b *bounds) message(now time.Time) error {
	if now.Sub(b.since) >= period {
		b.since, b.messages = now, 0
	}
	b.messages++
	if b.messages > burst {
		return status.Errorf(codes.ResourceExhausted, "more than %d messages in %s", burst, period)
	}
	return nil
}

// report says whether a report is taken; one that comes too early is dropped, a
// later one has its counts too.
func (b *bounds) report(now time.Time) bool {
	if now.Sub(b.reported) < reportEvery {
		return false
	}
	b.reported = now
	return true
}

func checkHello(h *stream.Hello) error {
	if len(h.GetVersion()) > maxName || len(h.GetLastHash()) > maxName || len(h.GetFeatures()) > maxFeatures ||
		proto.Size(h.GetServing()) > maxServing {
		return status.Error(codes.InvalidArgument, "the Hello is too large")
	}
	for _, f := range h.GetFeatures() {
		if len(f) > maxName {
			return status.Error(codes.InvalidArgument, "a feature in the Hello is too long")
		}
	}
	h.Version = printable(h.GetVersion(), maxName)
	h.LastHash = printable(h.GetLastHash(), maxName)
	return nil
}

func checkReport(r *stream.Report) error {
	if len(r.GetShadow())+len(r.GetIdempotencyShadow()) > maxShadow || len(r.GetProblems()) > maxProblems || len(r.GetStores()) > maxStores {
		return status.Errorf(codes.InvalidArgument, "a report has more than %d counts of shadow policies, %d problems or %d stores", maxShadow, maxProblems, maxStores)
	}
	var names []string
	for _, s := range r.GetShadow() {
		names = append(names, s.GetPolicy(), s.GetLimit())
	}
	for _, s := range r.GetIdempotencyShadow() {
		names = append(names, s.GetPolicy())
	}
	for _, s := range r.GetStores() {
		names = append(names, s.GetStore())
		s.Detail = printable(s.GetDetail(), maxDetail)
	}
	for _, n := range names {
		if len(n) > maxName {
			return status.Error(codes.InvalidArgument, "a name in a report is too long")
		}
	}
	return nil
}

// boundNack makes a refusal fit for a status.
func boundNack(n *stream.Nack) *stream.Nack {
	return &stream.Nack{
		Hash:   n.GetHash(),
		Policy: printable(n.GetPolicy(), maxName),
		Reason: printable(n.GetReason(), maxReason),
	}
}
