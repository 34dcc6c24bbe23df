// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	wirehttp "weir.dev/weir/sidecar/wire/http"
)

const (
	// maxOriginConns bounds the connections to one application. There is one more
	// whenever the application allows no more streams on those that there are.
	maxOriginConns = 256
	// maxDials bounds the connections that one request sees ended as soon as they
	// are there.
	maxDials = 3
	// strangerFor is how long an application that does not speak HTTP/2 is not
	// asked again.
	strangerFor = time.Second
	// originIdle is how long a connection to the application stays without a
	// stream.
	originIdle = 5 * time.Minute
	// originWindow is how much of a response is taken that the client has not.
	originWindow = 256 << 10
)

// framesKey is where a dial leaves its connection.
type framesKey struct{}

var (
	errShutDown = errors.New("the proxy is ending")
	errStranger = errors.New("the application does not speak HTTP/2")
	errEnds     = errors.New("the application ends connections as soon as they are made")
)

// origins are the applications behind this sidecar.
type origins struct {
	http *wirehttp.Server

	mu     sync.Mutex
	byAddr map[string]*origin
	// transport makes connections; settings are those that it was made with.
	transport *http.Transport
	settings  wirehttp.Settings
}

// origin is one of them, with its connections.
type origin struct {
	all     *origins
	address string

	mu     sync.Mutex
	conns  []*http.ClientConn
	closed bool
	// dial is under way.
	dial *dial
	// stranger is until when the application is taken not to speak HTTP/2.
	stranger time.Time
}

// dial is shared by all that wait for it.
type dial struct {
	done chan struct{}
	conn *http.ClientConn
	err  error
}

func (o *origins) init(h *wirehttp.Server) {
	o.http = h
	o.byAddr = map[string]*origin{}
}

// connector returns what makes connections by the current settings.
func (o *origins) connector() (*http.Transport, time.Duration) {
	set := *o.http.Settings()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.transport == nil || o.settings != set {
		o.transport, o.settings = newTransport(o.http.Config().Dial, &set), set
	}
	return o.transport, set.Connect
}

func newTransport(dial func(ctx context.Context, network, address string) (net.Conn, error), set *wirehttp.Settings) *http.Transport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols:              &protocols,
		DisableCompression:     true,
		IdleConnTimeout:        originIdle,
		MaxResponseHeaderBytes: int64(set.HeadBytes),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			f := &smallFrames{Conn: c, settled: make(chan struct{})}
			*ctx.Value(framesKey{}).(**smallFrames) = f
			return f, nil
		},
		HTTP2: &http.HTTP2Config{
			// No pings: TCP's own keepalive finds an application that is gone, and
			// net/http keeps the timer, and with it the memory, of a connection
			// that has ended.
			MaxReceiveBufferPerStream: originWindow,
			WriteByteTimeout:          set.Stall,
		},
	}
}

func (o *origins) at(address string) *origin {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.byAddr[address]
	if a == nil {
		a = &origin{all: o, address: address}
		o.byAddr[address] = a
	}
	return a
}

func (o *origins) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, a := range o.byAddr {
		a.close()
	}
}

// conn returns a connection that takes one more request: exactly one RoundTrip, or
// Release, must follow. Its errors say that the application cannot be reached.
func (a *origin) conn(ctx context.Context) (*http.ClientConn, error) {
	for ended := 0; ended < maxDials; {
		a.mu.Lock()
		if c := a.free(); c != nil {
			a.mu.Unlock()
			return c, nil
		}
		if time.Now().Before(a.stranger) {
			a.mu.Unlock()
			return nil, errStranger
		}
		d := a.dial
		if d == nil {
			d = &dial{done: make(chan struct{})}
			a.dial = d
			go a.connect(d)
		}
		a.mu.Unlock()
		select {
		case <-d.done:
			switch {
			case d.err != nil:
				return nil, d.err
			case d.conn.Err() != nil:
				ended++
			}
			// Else it may have been taken by others that waited for it.
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, errEnds
}

// free finds a connection, and forgets those that have ended. Where there may be no
// more of them, it is one that makes the request wait.
func (a *origin) free() *http.ClientConn {
	for _, c := range a.conns {
		if c.Reserve() == nil {
			return c
		}
	}
	a.conns = slices.DeleteFunc(a.conns, func(c *http.ClientConn) bool { return c.Err() != nil })
	if len(a.conns) < maxOriginConns {
		return nil
	}
	return slices.MinFunc(a.conns, func(x, y *http.ClientConn) int { return x.InFlight() - y.InFlight() })
}

func (a *origin) connect(d *dial) {
	transport, limit := a.all.connector()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var frames *smallFrames
	c, err := transport.NewClientConn(context.WithValue(ctx, framesKey{}, &frames), "http", a.address)
	if err == nil {
		// Until the application has said how many streams it takes, net/http
		// takes it for a hundred, and it would refuse those that are too many. It
		// owes its SETTINGS at once, but may be slow to begin.
		select {
		case <-frames.settled:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil && a.closed:
		_ = c.Close()
		err = errShutDown
	case err == nil && frames.stranger.Load():
		_ = c.Close()
		err, a.stranger = errStranger, time.Now().Add(strangerFor)
	case err == nil:
		a.conns = append(a.conns, c)
	}
	a.dial, d.conn, d.err = nil, c, err
	close(d.done)
}

func (a *origin) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, c := range a.conns {
		_ = c.Close()
	}
	a.conns = nil
}
