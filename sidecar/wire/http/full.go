// SPDX-License-Identifier: Apache-2.0

package http

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http/rules"
	"weir.dev/weir/sidecar/wire/sniff"
)

const (
	// maxTurnedAway bounds the connections that are being told that there are too
	// many; more are just closed.
	maxTurnedAway = 64
	// turnAwayTime is how long that may take.
	turnAwayTime = time.Second
)

// turnAway ends a connection that is one too many. On a governed port it answers
// the first request with 503: what is closed without a word looks like an
// application that crashes.
func (s *Server) turnAway(nc net.Conn, target Target) {
	defer func() { _ = nc.Close() }()
	s.cfg.Metrics.Refused(target.Port, RefusedFull)
	port, ready := s.cfg.Ports.Port(target.Port)
	if ready && !port.Governed() || port != nil && (port.Protocol == exchange.Thrift || port.Protocol == exchange.H2C || port.Protocol == exchange.GRPC) {
		return
	}
	if s.turned.Add(1) > maxTurnedAway {
		s.turned.Add(-1)
		return
	}
	defer s.turned.Add(-1)
	_ = nc.SetDeadline(time.Now().Add(turnAwayTime))
	// What speaks HTTP/2 is closed: its clients take that for a failed connection,
	// and wait before they come again.
	var first [sniff.MaxBytes]byte
	for n, v := 0, sniff.NeedMore; v != sniff.HTTP1; v = sniff.Classify(first[:n]) {
		if n > 0 && v != sniff.NeedMore {
			return
		}
		k, err := nc.Read(first[n:])
		if n += k; err != nil {
			return
		}
	}
	d := rules.TooManyConnections()
	doc := rules.AppendProblem(nil, &d)
	w := appendStatus(nil, http.StatusServiceUnavailable)
	w = append(w, "Content-Type: application/problem+json\r\nCache-Control: no-store\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: "...)
	w = strconv.AppendInt(w, int64(len(doc)), 10)
	w = append(append(w, "\r\n\r\n"...), doc...)
	if _, err := nc.Write(w); err != nil {
		return
	}
	s.cfg.Metrics.Request(target.Port, HTTP1, http.StatusServiceUnavailable, time.Time{})
	if h, ok := nc.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, nc, maxLinger)
	}
}
