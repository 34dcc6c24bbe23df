// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"maps"
	"sync"
	"sync/atomic"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift"
)

// carriedBytes bounds a call that HTTP carries.
const carriedBytes = 4 << 20

// carriers are ports of Thrift as ports of HTTP, whose filters see the calls.
type carriers struct {
	ports exchange.Ports
	mu    sync.Mutex
	made  atomic.Pointer[map[uint16]carrier]
}

// carrier is what was made of a port.
type carrier struct{ of, as *exchange.Port }

// Ready implements exchange.Ports.
func (c *carriers) Ready() <-chan struct{} { return c.ports.Ready() }

// Port implements exchange.Ports.
func (c *carriers) Port(number uint16) (*exchange.Port, bool) {
	p, ready := c.ports.Port(number)
	if p == nil || p.Protocol != exchange.Thrift || len(p.Chain) == 0 {
		return p, ready
	}
	if m := c.made.Load(); m != nil {
		if made := (*m)[number]; made.of == p {
			return made.as, true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	made := map[uint16]carrier{}
	if m := c.made.Load(); m != nil {
		maps.Copy(made, *m)
	}
	as := *p
	as.Protocol, as.Calls, as.Chain = exchange.HTTP, false, thrift.OverHTTP(p.Chain, carriedBytes)
	made[number] = carrier{p, &as}
	c.made.Store(&made)
	return &as, true
}
