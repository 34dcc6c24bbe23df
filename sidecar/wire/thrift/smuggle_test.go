// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	apache "github.com/apache/thrift/lib/go/thrift"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/http"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// witness notes the calls that it lets pass, as a policy would see them.
type witness struct {
	stub
	names []string
}

func newWitness() *witness {
	w := &witness{}
	w.head = func(x *exchange.Exchange) exchange.Verdict {
		x.Call.Oneway = true // So that nobody waits for an application that says nothing.
		w.names = append(w.names, string(x.Call.Service)+"|"+string(x.Call.Method))
		return exchange.Continue
	}
	return w
}

// pipe serves one connection with what a client sends, and returns what the application
// got, a connection each.
func pipe(t testing.TB, f exchange.Filter, sent []byte) (got [][]byte) {
	t.Helper()
	var apps sync.WaitGroup
	var mu sync.Mutex
	s := New(Config{
		Ports: chainPorts(f), Logger: slog.New(slog.DiscardHandler),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			apps.Go(func() {
				b, _ := io.ReadAll(far)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, b)
			})
			return near, nil
		},
	})
	near, far := net.Pipe()
	var client sync.WaitGroup
	client.Go(func() {
		_, _ = far.Write(sent)
		_ = far.SetReadDeadline(time.Now()) // What it is answered does not matter.
	})
	client.Go(func() {
		_, _ = io.Copy(io.Discard, far)
		_ = far.Close()
	})
	s.ServeConn(near, http.Target{Port: testPort, Upstream: "app:1"})
	client.Wait()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	apps.Wait()
	return got
}

// reads is what Apache's library makes of what the application got: the names of all
// calls that are whole.
func reads(transport message.Transport, b []byte) (names []string) {
	conf := &apache.TConfiguration{MaxMessageSize: 1 << 20, MaxFrameSize: 1 << 20}
	buf := apache.NewTMemoryBuffer()
	buf.Buffer = bytes.NewBuffer(b)
	var tr apache.TTransport = buf
	if transport == message.Framed {
		tr = apache.NewTFramedTransportConf(buf, conf)
	}
	var p apache.TProtocol
	switch {
	case transport == message.Header:
		p = apache.NewTHeaderProtocolConf(buf, conf)
	case len(b) > 4 && (b[0] == 0x82 || transport == message.Framed && b[4] == 0x82):
		p = apache.NewTCompactProtocolConf(tr, conf)
	case len(b) > 4 && (b[0] == '[' || transport == message.Framed && b[4] == '['):
		p = apache.NewTJSONProtocol(tr)
	default:
		p = apache.NewTBinaryProtocolConf(tr, conf)
	}
	ctx := context.Background()
	for {
		name, _, _, err := p.ReadMessageBegin(ctx)
		if err != nil {
			return names
		}
		if p.Skip(ctx, apache.STRUCT) != nil || p.ReadMessageEnd(ctx) != nil {
			return names
		}
		names = append(names, name)
	}
}

// FuzzSmuggle: whatever a client sends, the application finds no more calls in what it
// gets than the filters have seen.
func FuzzSmuggle(f *testing.F) {
	echo := binaryCall(message.Call, "echo", 1, "x")
	note := binaryCall(message.Oneway, "svc:note", 2, "y")
	compact := []byte("\x82\x21\x01\x04echo\x18\x01x\x00")
	json := []byte(`[1,"echo",1,1,{"1":{"str":"x"}}]`)
	for _, b := range [][]byte{
		echo, note, append(bytes.Clone(note), echo...), framed(echo), framed(append(bytes.Clone(note), echo...)), append(framed(note), framed(echo)...),
		compact, framed(compact), append(bytes.Clone(compact), compact...), json, framed(json), append(bytes.Clone(json), json...), framed(append(bytes.Clone(json), json...)),
		[]byte("\x00\x00\x00\x26\x0f\xff\x00\x00\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00" + string(binaryCall(message.Oneway, "note", 2, ""))),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) == 0 || len(sent) > 32<<10 {
			return
		}
		w := newWitness()
		got := pipe(t, w, sent)
		transport := message.Unframed
		if sent[0] == 0 {
			transport = message.Framed
			if len(sent) > 5 && sent[4] == 0x0f && sent[5] == 0xff {
				transport = message.Header
			}
		}
		found := 0
		for _, b := range got {
			found += len(reads(transport, b))
		}
		if found > len(w.names) {
			t.Fatalf("%q: the application finds %d calls, the filters saw %q", sent, found, w.names)
		}
	})
}
