// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Idle are connections that have had one request each and are kept.
type Idle struct{ conns []net.Conn }

// OpenIdle opens n of them, one after the other.
func OpenIdle(ctx context.Context, r Request, n int) (*Idle, error) {
	address, message, _, err := r.bytesOf()
	if err != nil {
		return nil, err
	}
	idle := &Idle{}
	buffer := make([]byte, 64<<10)
	for i := range n {
		if err := idle.add(ctx, address, message, buffer); err != nil {
			idle.Close()
			return nil, fmt.Errorf("idle connection %d: %w", i+1, err)
		}
	}
	return idle, nil
}

func (i *Idle) add(ctx context.Context, address string, message, buffer []byte) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	i.conns = append(i.conns, c)
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(message); err != nil {
		return err
	}
	var resp response
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return err
		}
		whole, err := resp.feed(buffer[:n])
		if err != nil {
			return err
		}
		if whole {
			return nil
		}
	}
}

// Close closes them.
func (i *Idle) Close() {
	for _, c := range i.conns {
		c.Close()
	}
}
