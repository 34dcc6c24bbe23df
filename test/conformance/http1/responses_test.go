// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestResponses: whatever an application answers, a client reads one response to
// its request, and the next request, which may go over the same connections, gets
// its own.
func TestResponses(t *testing.T) {
	slots := make(chan struct{}, 16)
	for _, c := range corpus(t, "responses.yaml") {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			o := newOrigin(t, c.Origin)
			f := startProxy(t, &recorder{}, o)
			conversation(t, c, f, o)
			f.stop(t)
			o.received()
		})
	}
}

func conversation(t *testing.T, c *testCase, f *front, o *origin) {
	conn := f.dial(t)
	defer func() { _ = conn.Close() }()
	writePieces(conn, c.pieces)
	br := bufio.NewReader(conn)
	method, _, _ := strings.Cut(c.Send, " ")
	got, err := readFinal(br, method)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	allowed(t, c, got)
	select {
	case <-o.answered:
	case <-time.After(patience):
		t.Fatal("the application was not asked")
	}
	// What the application has written after its response is here by now.
	if got.closes {
		if rest, err := io.ReadAll(br); len(rest) > 0 {
			t.Errorf("behind a response that closes the client got %q, %v", rest, err)
		}
		conn = f.dial(t)
		defer func() { _ = conn.Close() }()
		br = bufio.NewReader(conn)
	}
	writePieces(conn, [][]byte{[]byte(next)})
	got, err = readFinal(br, http.MethodGet)
	if err != nil {
		t.Fatalf("no response to the next request: %v", err)
	}
	if got.status != 200 || got.body != "ok" || got.broken {
		t.Errorf("the next request got %v", got)
	}
	_ = conn.CloseWrite()
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		t.Errorf("behind the last response the client got %q, %v", rest, err)
	}
}

// answer is a response as a client reads it.
type answer struct {
	status int
	body   string
	// broken: the body did not come to its end.
	broken bool
	// closes: no other response follows on the connection.
	closes bool
}

func (a answer) String() string {
	if a.broken {
		return fmt.Sprintf("%d!", a.status)
	}
	return fmt.Sprintf("%d %s", a.status, a.body)
}

// readFinal reads the next response that is not interim.
func readFinal(br *bufio.Reader, method string) (answer, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return answer{}, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return answer{}, err
		}
		return answer{status: resp.StatusCode, body: string(body), broken: err != nil, closes: resp.Close || err != nil}, nil
	}
}

// allowed checks a response against what the case allows: "200 body", "200!" for
// a body that breaks off, "502" for any body.
func allowed(t *testing.T, c *testCase, got answer) {
	t.Helper()
	for _, want := range c.Client {
		pieces, err := unescape(want)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(pieces[0]); text == got.String() || text == fmt.Sprint(got.status) && !got.broken {
			return
		}
	}
	t.Errorf("the client got %v, want one of %q", got, c.Client)
}
