// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// greeting is said before the client has sent a byte, as mail servers and
// databases do: whoever waits for a request to know the protocol waits for ever.
const greeting = "hello\n"

// serveTCP greets whoever connects and sends back what it gets, until l is closed.
func serveTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			if _, err := io.WriteString(conn, greeting); err != nil {
				return
			}
			_, _ = io.Copy(conn, conn) // the client has gone: nobody is left to tell
		}()
	}
}

// dial prints a TCP server's greeting and what it makes of a line.
func dial(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return fmt.Errorf("dial: want HOST:PORT and a text, got %q", args)
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	lines := bufio.NewReader(conn)
	first, err := lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if _, err := io.WriteString(conn, args[1]+"\n"); err != nil {
		return err
	}
	second, err := lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("no echo: %w", err)
	}
	_, err = io.WriteString(stdout, first+second)
	return err
}

// reach connects to every address once.
func reach(ctx context.Context, addresses []string) error {
	if len(addresses) == 0 {
		return errors.New("reach: want HOST:PORT")
	}
	for _, address := range addresses {
		conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}
