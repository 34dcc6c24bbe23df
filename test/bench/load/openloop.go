// SPDX-License-Identifier: Apache-2.0

//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long answers that are late may take after the end of a run.
const grace = 5 * time.Second

// OpenLoop sends rate requests per second for d, whether earlier ones have been
// answered or not; while no connection is free, those that are due wait and their
// latency grows. One thread does it all, so that its sends are as punctual as a
// timer of the kernel.
func OpenLoop(ctx context.Context, r Request, connections int, rate float64, d time.Duration) (Result, error) {
	if rate <= 0 {
		return Result{}, fmt.Errorf("a rate of %g requests per second", rate)
	}
	l := &loop{interval: time.Duration(float64(time.Second) / rate), total: int64(rate * d.Seconds())}
	return l.send(ctx, r, connections, d)
}

// Each sends n requests, as fast as they are answered, and fails unless all succeed
// within a time that grows with n.
func Each(ctx context.Context, r Request, connections int, n int64) error {
	l := &loop{total: n}
	res, err := l.send(ctx, r, connections, time.Duration(n)*time.Millisecond)
	if err == nil && (res.Errors > 0 || res.NotOK > 0) {
		err = fmt.Errorf("of %d requests %d got no answer and %d no success", n, res.Errors, res.NotOK)
	}
	return err
}

func (l *loop) send(ctx context.Context, r Request, connections int, d time.Duration) (Result, error) {
	var address string
	var err error
	if address, l.message, l.keyAt, err = r.bytesOf(); err != nil {
		return Result{}, err
	}
	l.key = r.Key
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.close()
	if err := l.open(address, connections); err != nil {
		return Result{}, err
	}
	if err := l.run(ctx, d); err != nil {
		return Result{}, err
	}
	return l.result(d), nil
}

// loop is an open loop. Latencies are counted from when requests were due.
type loop struct {
	message  []byte
	key      Key
	keyAt    int
	interval time.Duration
	total    int64

	epoll, timer int
	conns        map[int32]*conn
	idle         []*conn
	begin        time.Time
	sent, done   int64
	notOK        int64
	failed       int64
	passed       map[int64]int64
	latencies    []time.Duration
	buffer       []byte
}

type conn struct {
	fd       int
	due      time.Time
	response response
	// unsent is what of a request the socket did not take, own the request where
	// each is another.
	unsent, own []byte
}

func (l *loop) open(address string, connections int) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	l.timer, l.epoll = -1, -1
	l.conns = map[int32]*conn{}
	l.passed = map[int64]int64{}
	l.latencies = make([]time.Duration, 0, l.total)
	l.buffer = make([]byte, 128<<10)
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	if err := l.watch(l.timer, unix.EPOLLIN); err != nil {
		return err
	}
	for range connections {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		c := &conn{fd: fd}
		l.conns[int32(fd)] = c
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			return fmt.Errorf("connect to %s: %w", address, err)
		}
		if err := errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
			return err
		}
		if err := l.watch(fd, unix.EPOLLIN|unix.EPOLLRDHUP); err != nil {
			return err
		}
		l.idle = append(l.idle, c)
	}
	return nil
}

func (l *loop) watch(fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (l *loop) close() {
	for _, c := range l.conns {
		_ = unix.Close(c.fd)
	}
	for _, fd := range []int{l.timer, l.epoll} {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
}

// dueAt is when request n is due.
func (l *loop) dueAt(n int64) time.Time { return l.begin.Add(time.Duration(n) * l.interval) }

func (l *loop) run(ctx context.Context, d time.Duration) error {
	l.begin = time.Now()
	events := make([]unix.EpollEvent, 256)
	for l.done < l.total {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Since(l.begin) > d+grace {
			return nil // what is missing counts as errors
		}
		if err := l.sendDue(); err != nil {
			return err
		}
		n, err := unix.EpollWait(l.epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:max(0, n)] {
			if int(e.Fd) == l.timer {
				continue
			}
			if err := l.serve(l.conns[e.Fd], e.Events); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendDue sends what is due as far as connections are free, and sets the timer for
// what comes next.
func (l *loop) sendDue() error {
	now := time.Now()
	for l.sent < l.total && len(l.idle) > 0 {
		due := l.dueAt(l.sent)
		if due.After(now) {
			return l.wakeAt(due.Sub(now))
		}
		c := l.idle[len(l.idle)-1]
		l.idle = l.idle[:len(l.idle)-1]
		c.due, c.unsent = due, l.next(c)
		l.sent++
		if err := l.write(c); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) wakeAt(d time.Duration) error {
	return unix.TimerfdSettime(l.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(1, d)))}, nil)
}

// next is the request that is due.
func (l *loop) next(c *conn) []byte {
	if l.keyAt == 0 {
		return l.message
	}
	c.own = append(c.own[:0], l.message...)
	putNumber(c.own[l.keyAt:], l.key.number(l.sent))
	return c.own
}

func (l *loop) write(c *conn) error {
	n, err := unix.Write(c.fd, c.unsent)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("send a request: %w", err)
	}
	c.unsent = c.unsent[max(0, n):]
	events := uint32(unix.EPOLLIN | unix.EPOLLRDHUP)
	if len(c.unsent) == 0 {
		return nil
	}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events | unix.EPOLLOUT, Fd: int32(c.fd)})
}

// serve takes what a connection has to say.
func (l *loop) serve(c *conn, events uint32) error {
	if events&unix.EPOLLOUT != 0 && len(c.unsent) > 0 {
		if err := l.write(c); err != nil {
			return err
		}
		if len(c.unsent) == 0 {
			if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(c.fd)}); err != nil {
				return err
			}
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	n, err := unix.Read(c.fd, l.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("read a response: %w", err)
	case n == 0:
		return errors.New("the server has closed a connection")
	}
	whole, err := c.response.feed(l.buffer[:n])
	if err != nil || !whole {
		return err
	}
	l.done++
	now := time.Now()
	l.latencies = append(l.latencies, now.Sub(c.due))
	switch {
	case c.response.status >= 500:
		l.failed++
		l.notOK++
	case c.response.status >= 400:
		l.notOK++
	default:
		l.passed[now.Unix()]++
	}
	l.idle = append(l.idle, c)
	return nil
}

func (l *loop) result(d time.Duration) Result {
	slices.Sort(l.latencies)
	return Result{
		Requests:  l.done,
		PerSecond: float64(l.done) / d.Seconds(),
		P50:       percentile(l.latencies, 50),
		P99:       percentile(l.latencies, 99),
		NotOK:     l.notOK,
		Errors:    l.total - l.done,
		Failed:    l.failed,
		Passed:    l.passed,
	}
}

// percentile is the smallest of sorted that p percent do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
