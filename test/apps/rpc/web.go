// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// wsResult is what became of a WebSocket.
type wsResult struct {
	Status int         `json:"status"` // of the handshake: 101 when it is one
	Sent   int         `json:"sent"`
	Echoed int         `json:"echoed"`
	Header http.Header `json:"header,omitempty"`
	Error  string      `json:"error,omitempty"`
}

// headers adds the flag -H to fs.
func headers(fs *flag.FlagSet) http.Header {
	h := http.Header{}
	fs.Func("H", "header, `Name: value` (repeatable)", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("want \"Name: value\", got %q", s)
		}
		h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	return h
}

func ws(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("rpc ws", flag.ContinueOnError)
	fs.SetOutput(stderr)
	var m messages
	m.flags(fs)
	size := fs.Int("size", 1000, "bytes of each")
	h := headers(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("ws: want one URL after the flags, got %q", fs.Args())
	}
	m.begin(stdin)
	return json.NewEncoder(stdout).Encode(echo(ctx, fs.Arg(0), h, *size, &m))
}

func echo(ctx context.Context, url string, h http.Header, size int, m *messages) wsResult {
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	c, resp, err := dialer.DialContext(ctx, url, h)
	var r wsResult
	if resp != nil {
		r.Status, r.Header = resp.StatusCode, resp.Header
	}
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer c.Close()
	for i := 0; m.more(i); i++ {
		r.Sent++
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		want := strings.Repeat(fmt.Sprint(i%10), size)
		if err := c.WriteMessage(websocket.TextMessage, []byte(want)); err != nil {
			r.Error = err.Error()
			return r
		}
		_, got, err := c.ReadMessage()
		if err != nil || string(got) != want {
			r.Error = errors.Join(err, fmt.Errorf("message %d is not what was sent", i)).Error()
			return r
		}
		r.Echoed++
		time.Sleep(m.every)
	}
	return r
}

// event is one that came, and when, since the request was sent.
type event struct {
	Data string `json:"data"`
	MS   int64  `json:"ms"`
}

func events(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("rpc events", flag.ContinueOnError)
	fs.SetOutput(stderr)
	h := headers(fs)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("events: want one URL after the flags, got %q", fs.Args())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fs.Arg(0), nil)
	if err != nil {
		return err
	}
	req.Header = h
	start := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	out := json.NewEncoder(stdout)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := out.Encode(event{Data: data, MS: time.Since(start).Milliseconds()}); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}
