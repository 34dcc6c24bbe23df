// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Collector takes whatever it is sent over gRPC, such as spans over OTLP, answers
// with an empty message and counts.
type Collector struct {
	listener net.Listener
	server   *grpc.Server
	calls    atomic.Int64
}

// NewCollector listens on the loopback interface.
func NewCollector() (*Collector, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &Collector{listener: l}
	c.server = grpc.NewServer(grpc.UnknownServiceHandler(c.take))
	go func() { _ = c.server.Serve(l) }()
	return c, nil
}

// Address is its host:port.
func (c *Collector) Address() string { return c.listener.Addr().String() }

// Calls is how many it has answered.
func (c *Collector) Calls() int64 { return c.calls.Load() }

// Stop ends it.
func (c *Collector) Stop() { c.server.Stop() }

// take reads one message into an empty one, which every message fits.
func (c *Collector) take(_ any, s grpc.ServerStream) error {
	if err := s.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	c.calls.Add(1)
	return s.SendMsg(&emptypb.Empty{})
}
