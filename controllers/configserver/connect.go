// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/hub"
	"weir.dev/weir/controllers/rollout"
)

// Connect serves one sidecar until it goes, MaxAge is over or the server stops.
func (s *Server) Connect(conn stream.Config_ConnectServer) error {
	if !s.opts.Synced() {
		return status.Error(codes.Unavailable, "the operator is starting")
	}
	pod, err := s.podOf(conn.Context())
	if err != nil {
		return err
	}
	replaced, release := s.takeOver(pod)
	defer release()
	in := s.receive(conn)
	hello, err := s.hello(conn.Context(), in, replaced)
	if err != nil {
		return err
	}
	// The sidecar learns that it is accepted, though its pod may not have been
	// assigned yet.
	if err := conn.SendHeader(nil); err != nil {
		return err
	}
	sub := s.opts.Hub.Subscribe(pod, hello.GetFeatures())
	defer sub.Close()
	c := &connection{conn: conn, sub: sub, session: newSession(hello, sub.Lookup), replaced: replaced}
	// What the sidecar has brought along counts from the beginning: a status must not
	// say for a moment that it enforces nothing.
	c.session.remember(s.opts.Rollout.Tracker.Pod(pod.Namespace, pod.UID))
	state := &stream.PodState{Namespace: pod.Namespace, Pod: pod.Name, Uid: pod.UID, Version: hello.GetVersion()}
	c.session.write(state)
	c.state = s.opts.Rollout.Tracker.Open(state)
	defer c.state.Close()
	defer s.opts.Metrics.stream()()
	s.opts.Log.Debug("sidecar connected", "namespace", pod.Namespace, "pod", pod.Name, "version", hello.GetVersion())
	err = s.serve(c, in)
	s.opts.Log.Debug("sidecar gone", "namespace", pod.Namespace, "pod", pod.Name, "reason", err)
	return err
}

// podOf returns the live, injected pod that the caller's token is bound to.
func (s *Server) podOf(ctx context.Context) (hub.Pod, error) {
	id, err := identify(ctx, s.opts.Auth)
	if err != nil {
		return hub.Pod{}, err
	}
	pod, obj, err := s.live(ctx, id)
	if err != nil {
		return hub.Pod{}, err
	}
	if !s.opts.Injected(obj) {
		return hub.Pod{}, status.Errorf(codes.PermissionDenied, "pod %s/%s was not injected by Weir", id.Namespace, id.Pod)
	}
	return pod, nil
}

// live returns the pod that a token is bound to, as long as there is one.
func (s *Server) live(ctx context.Context, id Identity) (hub.Pod, metav1.Object, error) {
	if id.Pod == "" || id.UID == "" {
		return hub.Pod{}, nil, status.Error(codes.PermissionDenied, "the token is not bound to a pod")
	}
	name := fmt.Sprintf("pod %s/%s", id.Namespace, id.Pod)
	obj, err := s.opts.Pod(ctx, id.Namespace, id.Pod)
	if apierrors.IsNotFound(err) || err == nil && string(obj.GetUID()) != id.UID {
		// The API server knows the pod, or the token would not have been
		// accepted: this replica will know it soon.
		return hub.Pod{}, nil, status.Errorf(codes.Unavailable, "%s is not known here yet", name)
	}
	if err != nil {
		return hub.Pod{}, nil, status.Errorf(codes.Unavailable, "%s: %v", name, err)
	}
	return hub.Pod{Namespace: id.Namespace, Name: id.Pod, UID: id.UID}, obj, nil
}

// takeOver ends the stream that the pod has here: one pod has one stream, so that
// it cannot fill the operator's memory. The channel is closed when a newer one does
// the same; release must be called at the end.
func (s *Server) takeOver(pod hub.Pod) (replaced <-chan struct{}, release func()) {
	mine := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.streams[pod]; old != nil {
		close(old)
	}
	s.streams[pod] = mine
	return mine, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.streams[pod] == mine {
			delete(s.streams, pod)
		}
	}
}

// received is a message of the sidecar, or the error that ends the stream.
type received struct {
	message *stream.FromSidecar
	err     error
}

// receive reads until the stream ends, at the pace of the reader of the channel.
func (s *Server) receive(conn stream.Config_ConnectServer) <-chan received {
	out := make(chan received)
	go func() {
		for {
			m, err := conn.Recv()
			select {
			case out <- received{message: m, err: err}:
			case <-conn.Context().Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

func (s *Server) hello(ctx context.Context, in <-chan received, replaced <-chan struct{}) (*stream.Hello, error) {
	timeout := time.NewTimer(helloTimeout)
	defer timeout.Stop()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.stop:
		return nil, errStopping
	case <-replaced:
		return nil, errReplaced
	case <-timeout.C:
		return nil, status.Errorf(codes.FailedPrecondition, "no Hello within %s", helloTimeout)
	case r := <-in:
		if r.err != nil {
			return nil, r.err
		}
		h := r.message.GetHello()
		if h == nil {
			return nil, status.Error(codes.FailedPrecondition, "the first message is not a Hello")
		}
		return h, checkHello(h)
	}
}

var (
	errStopping = status.Error(codes.Unavailable, "the operator is stopping")
	errAged     = status.Error(codes.Unavailable, "connect again: streams are spread over the operator's replicas")
	errReplaced = status.Error(codes.Aborted, "a newer stream of this pod has taken over")
)

// connection is one sidecar's stream; only serve uses it.
type connection struct {
	conn    stream.Config_ConnectServer
	sub     *hub.Subscription
	session *session
	state   *rollout.Stream
	bounds  bounds
	// replaced is closed by a newer stream of the same pod.
	replaced <-chan struct{}
}

func (s *Server) serve(c *connection, in <-chan received) error {
	age := time.NewTimer(jitter(s.opts.MaxAge))
	defer age.Stop()
	for {
		var out []*stream.ToSidecar
		select {
		case <-c.conn.Context().Done():
			return c.conn.Context().Err()
		case <-s.stop:
			return errStopping
		case <-c.replaced:
			return errReplaced
		case <-age.C:
			return errAged
		case <-c.sub.Changed():
			v, ok := c.sub.View()
			if !ok {
				continue
			}
			out = c.session.see(v)
		case r := <-in:
			if r.err != nil {
				return r.err
			}
			var err error
			if out, err = c.take(r.message, time.Now()); err != nil {
				return err
			}
			if r.message.GetNack() != nil {
				s.opts.Metrics.nacked()
			}
		}
		for _, m := range out {
			if err := c.conn.Send(m); err != nil {
				return err
			}
			if m.GetSnapshot() != nil {
				s.opts.Metrics.sent()
			}
		}
		c.state.Update(c.session.write)
	}
}

// take handles one message of the sidecar.
func (c *connection) take(m *stream.FromSidecar, now time.Time) ([]*stream.ToSidecar, error) {
	// The one answer to each snapshot is not the sidecar's to choose.
	if !c.session.awaits(m) {
		if err := c.bounds.message(now); err != nil {
			return nil, err
		}
	}
	switch m := m.GetMessage().(type) {
	case *stream.FromSidecar_Ack:
		return c.session.acked(m.Ack.GetHash()), nil
	case *stream.FromSidecar_Nack:
		return c.session.nacked(boundNack(m.Nack)), nil
	case *stream.FromSidecar_Report:
		if !c.bounds.report(now) {
			return nil, nil
		}
		if err := checkReport(m.Report); err != nil {
			return nil, err
		}
		c.state.Update(func(p *stream.PodState) { p.Report = m.Report })
	case *stream.FromSidecar_Hello:
		return nil, status.Error(codes.FailedPrecondition, "a second Hello")
	}
	// A message this server does not know comes from a newer sidecar.
	return nil, nil
}

// jitter is d give or take a fifth.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// printable makes a sidecar's text fit for logs and status.
func printable(s string, limit int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
