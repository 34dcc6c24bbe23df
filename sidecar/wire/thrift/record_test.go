// SPDX-License-Identifier: Apache-2.0

package thrift

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	apache "github.com/apache/thrift/lib/go/thrift"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// result is the struct of a reply.
func result(t testing.TB, p message.Protocol, value string) []byte {
	t.Helper()
	if p == message.JSON {
		return []byte(`{"0":{"str":"` + value + `"}}`)
	}
	buf := apache.NewTMemoryBuffer()
	var out apache.TProtocol = apache.NewTBinaryProtocolConf(buf, nil)
	if p == message.Compact {
		out = apache.NewTCompactProtocolConf(buf, nil)
	}
	r := &text{id: 0, value: value}
	if err := errors.Join(r.Write(context.Background(), out), out.Flush(context.Background())); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestRecorded: recorders are shown the result, decompressed, of any size, over each
// transport and protocol.
func TestRecorded(t *testing.T) {
	for _, s := range stacks() {
		for name, value := range map[string]string{"small": "hello", "large": strings.Repeat("0123456789abcdef", 300<<10/16)} {
			t.Run(s.String()+"/"+name, func(t *testing.T) {
				f := &stub{ended: make(chan struct{}, 1)}
				f.head = func(x *exchange.Exchange) exchange.Verdict {
					x.Record = true
					return exchange.Continue
				}
				_, front := proxy(t, Config{Ports: chainPorts(f), Lax: true}, s.serve(t, &app{}))
				if got := s.client(t, front).call(context.Background(), "echo", value); got != value {
					t.Errorf("got %.100q", got)
				}
				<-f.ended
				p := map[string]message.Protocol{"compact": message.Compact, "json": message.JSON}[s.protocol]
				if want := result(t, p, value); !bytes.Equal(f.recorded, want) {
					t.Errorf("recorded %.100q, want %.100q", f.recorded, want)
				}
				if o, _ := f.last(); o != exchange.Replied {
					t.Errorf("got outcome %v", o)
				}
			})
		}
	}
}

// TestRecorderRefuses: where a recorder does not agree the client does not get the end.
func TestRecorderRefuses(t *testing.T) {
	for name, value := range map[string]string{"small": "hello", "large": strings.Repeat("x", 300<<10)} {
		t.Run(name, func(t *testing.T) {
			f := &stub{ended: make(chan struct{}, 1), end: func(*exchange.Exchange) bool { return false }}
			f.head = func(x *exchange.Exchange) exchange.Verdict {
				x.Record = true
				return exchange.Continue
			}
			_, front := proxy(t, Config{Ports: chainPorts(f)}, echoApp(t, nil))
			c := dialRaw(t, front)
			_, _ = c.Write(framed(binaryCall(message.Call, "echo", 1, value)))
			if b := ends(t, c); len(b) >= len(framed(binaryReply("echo", 1, value))) {
				t.Error("the client got the end")
			}
			<-f.ended
			if o, _ := f.last(); o != exchange.Aborted {
				t.Errorf("got outcome %v", o)
			}
		})
	}
}

// TestRecordedWithoutClient: a reply is recorded to its end although the client has gone.
func TestRecordedWithoutClient(t *testing.T) {
	got, goOn := make(chan struct{}), make(chan struct{})
	value := strings.Repeat("x", 4<<20)
	app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
		readFrame(br)
		close(got)
		<-goOn
		_, _ = c.Write(framed(binaryReply("echo", 1, value)))
	})
	f := &stub{ended: make(chan struct{}, 1)}
	f.head = func(x *exchange.Exchange) exchange.Verdict {
		x.Record = true
		return exchange.Continue
	}
	_, front := proxy(t, Config{Ports: chainPorts(f)}, app)
	c := dialRaw(t, front)
	_, _ = c.Write(framed(binaryCall(message.Call, "echo", 1, "x")))
	<-got
	_ = c.SetLinger(0)
	_ = c.Close()
	close(goOn)
	<-f.ended
	if want := result(t, message.Binary, value); !bytes.Equal(f.recorded, want) {
		t.Errorf("%d bytes were recorded, want %d", len(f.recorded), len(want))
	}
	if o, _ := f.last(); o != exchange.Replied {
		t.Errorf("got outcome %v", o)
	}
}

// TestOverdue: the client is answered when the time is over, and recorders get what
// comes later, or do not.
func TestOverdue(t *testing.T) {
	for name, comes := range map[string]bool{"it comes": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			app := rawApp(t, func(c *net.TCPConn, br *bufio.Reader) {
				b := readFrame(br)
				if comes {
					<-goOn
					_, _ = c.Write(framed(echo(b)))
				}
				_, _ = io.Copy(io.Discard, c)
			})
			f := &stub{ended: make(chan struct{}, 1)}
			overdue := make(chan struct{}, 1)
			f.overdue = func(*exchange.Exchange) { overdue <- struct{}{} }
			f.head = func(x *exchange.Exchange) exchange.Verdict {
				x.Record, x.Timeout, x.Late = true, 20*time.Millisecond, 20*time.Millisecond
				if comes {
					x.Late = 20 * time.Second
				}
				return exchange.Continue
			}
			_, front := proxy(t, Config{Ports: chainPorts(f)}, app)
			c := dialRaw(t, front)
			_, _ = c.Write(framed(binaryCall(message.Call, "echo", 1, "late")))
			if text := exceptionIn(t, ends(t, c)); !strings.HasPrefix(text, "weir: upstream timeout; ") {
				t.Errorf("got %q", text)
			}
			<-overdue
			close(goOn)
			<-f.ended
			want, outcome := []byte(nil), exchange.SentNoReply
			if comes {
				want, outcome = result(t, message.Binary, "late"), exchange.Replied
			}
			if o, _ := f.last(); o != outcome || !bytes.Equal(f.recorded, want) {
				t.Errorf("recorded %q, outcome %v", f.recorded, o)
			}
		})
	}
}

// oversizer lets what is too large pass, or denies it.
type oversizer struct {
	stub
	verdict exchange.Verdict
}

func (f *oversizer) Oversize(x *exchange.Exchange) exchange.Verdict {
	if f.verdict == exchange.Respond {
		x.Deny(exchange.Denial{Status: 413, Type: "x/too-large"})
	}
	return f.verdict
}

// TestNeedBody: filters get all arguments, within their bound, however they come.
func TestNeedBody(t *testing.T) {
	const limit = 64 << 10
	for name, test := range map[string]struct {
		value string
		pass  bool
		want  string
	}{
		"small":               {"hello", false, ""},
		"more than a buffer":  {strings.Repeat("x", 40<<10), false, ""},
		"too large":           {strings.Repeat("x", 100<<10), false, "weir: too large"},
		"too large, and pass": {strings.Repeat("x", 100<<10), true, ""},
	} {
		for form, frame := range map[string]func([]byte) []byte{"framed": framed, "unframed": func(b []byte) []byte { return b }} {
			t.Run(name+"/"+form, func(t *testing.T) {
				f := &oversizer{stub: stub{maxBody: limit, ended: make(chan struct{}, 2)}}
				if f.verdict = exchange.Respond; test.pass {
					f.verdict = exchange.Continue
				}
				var body []byte
				f.head = func(*exchange.Exchange) exchange.Verdict { return exchange.NeedBody }
				f.body = func(x *exchange.Exchange) exchange.Verdict {
					body = bytes.Clone(x.Body)
					return exchange.Continue
				}
				var app string
				if app = echoApp(t, nil); form == "unframed" {
					app = unframedApp(t, newCount())
				}
				_, front := proxy(t, Config{Ports: chainPorts(f)}, app)
				c := dialRaw(t, front)
				for i := range int32(2) {
					go func() { _, _ = c.Write(frame(binaryCall(message.Call, "echo", i, test.value))) }()
					want := frame(binaryReply("echo", i, test.value))
					if test.want != "" {
						want = frame(message.AppendException(nil, message.Binary, []byte("echo"), i, 6, []byte(test.want)))
					}
					got := make([]byte, len(want))
					if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("got %.80q, %v, want %.80q", got, err, want)
					}
					<-f.ended
				}
				if len(test.value) < limit && !bytes.Equal(body, args(test.value)) {
					t.Errorf("the filter saw %.80q", body)
				}
			})
		}
	}
}

// TestBuffersFull: what all calls together hold is bounded, and given back.
func TestBuffersFull(t *testing.T) {
	f := &stub{maxBody: 1 << 20}
	f.head = func(*exchange.Exchange) exchange.Verdict { return exchange.NeedBody }
	s, front := proxy(t, Config{Ports: chainPorts(f), BufferedBytes: 100 << 10}, echoApp(t, nil))
	c := dialRaw(t, front)
	br := bufio.NewReader(c)
	for i, want := range []string{"weir: buffers full; retry_after_ms=1000; ", "", "weir: buffers full; retry_after_ms=1000; ", ""} {
		size := 200 << 10
		if want == "" {
			size = 50 << 10
		}
		go func() { _, _ = c.Write(framed(binaryCall(message.Call, "echo", int32(i), strings.Repeat("x", size)))) }()
		b := readFrame(br)
		if text := exceptionIn(t, framed(b)); !strings.HasPrefix(text, want) || want == "" && text != "" || b == nil {
			t.Errorf("call %d: got %q", i, text)
		}
	}
	if n := s.buffered.Load(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}

// TestMaxBody: the port's bound holds for each transport.
func TestMaxBody(t *testing.T) {
	for form, frame := range map[string]func([]byte) []byte{"framed": framed, "unframed": func(b []byte) []byte { return b }} {
		t.Run(form, func(t *testing.T) {
			p := chainPorts(&stub{})
			p.port.MaxBody = 32 << 10
			app := echoApp(t, nil)
			if form == "unframed" {
				app = unframedApp(t, newCount())
			}
			_, front := proxy(t, Config{Ports: p}, app)
			c := dialRaw(t, front)
			want := frame(binaryReply("echo", 1, "x"))
			_, _ = c.Write(frame(binaryCall(message.Call, "echo", 1, "x")))
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %q, %v", got, err)
			}
			_, _ = c.Write(frame(binaryCall(message.Call, "echo", 2, strings.Repeat("x", 64<<10))))
			_ = c.CloseWrite()
			got = ends(t, c)
			if form == "unframed" {
				got = framed(got)
			}
			if text := exceptionIn(t, got); !strings.HasPrefix(text, "weir: body too large") {
				t.Errorf("got %q", text)
			}
		})
	}
}
