// SPDX-License-Identifier: Apache-2.0

package soak

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// tunnels upgrades connections, talks over them and leaves, by a reset or in order.
func (w *world) tunnels(ctx context.Context) {
	for ctx.Err() == nil {
		c := &call{id: uint64(w.ids.Add(1)), reply: "tunnel", method: http.MethodGet}
		w.ledger.begin(c, true)
		if err := w.upgrade(c); err != nil {
			w.fail("%s: %v", c.target(), err)
		}
		w.ledger.finish(c)
	}
}

func (w *world) upgrade(c *call) error {
	nc, err := net.Dial("tcp", w.fronts[always])
	if err != nil {
		return err
	}
	conn := nc.(*net.TCPConn)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	// What is sent behind the request goes through too.
	early := payload(c.id, rand.IntN(2)*rand.IntN(3000))
	_, _ = conn.Write(append(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: soak\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", c.target()), early...))
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Id") != strconv.FormatUint(c.id, 10) {
		return fmt.Errorf("got %d, %v", resp.StatusCode, resp.Header)
	}
	if err := heard(br, early); err != nil {
		return err
	}
	for range rand.IntN(10) {
		said := payload(uint64(rand.Int64()), 1+rand.IntN(20_000))
		if _, err := conn.Write(said); err != nil {
			return err
		}
		if err := heard(br, said); err != nil {
			return err
		}
	}
	if rand.IntN(3) == 0 {
		return conn.SetLinger(0)
	}
	_ = conn.CloseWrite()
	rest, err := io.ReadAll(br)
	if len(rest) > 0 {
		return fmt.Errorf("the tunnel says %d bytes more", len(rest))
	}
	return err
}

// heard holds what comes next against what was said.
func heard(r io.Reader, said []byte) error {
	got := make([]byte, len(said))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, said) {
		return fmt.Errorf("of %d bytes, others came back", len(said))
	}
	return nil
}
