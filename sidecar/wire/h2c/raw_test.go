// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawConn speaks frames.
type rawConn struct {
	net.Conn
	*http2.Framer
	t    testing.TB
	enc  *hpack.Encoder
	head bytes.Buffer
}

func newRawConn(t testing.TB, c net.Conn) *rawConn {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	r := &rawConn{Conn: c, Framer: http2.NewFramer(c, c), t: t}
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.head)
	return r
}

// dialRaw is a client that has sent the preface and its SETTINGS.
func dialRaw(t testing.TB, front string, settings ...http2.Setting) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	r := newRawConn(t, c)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return r
}

// fields encodes name, value, name, value.
func (r *rawConn) fields(pairs ...string) []byte {
	r.head.Reset()
	for i := 0; i < len(pairs); i += 2 {
		_ = r.enc.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return r.head.Bytes()
}

func request(path string, more ...string) []string {
	return append([]string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", path}, more...)
}

func (r *rawConn) headers(id uint32, end bool, pairs ...string) {
	r.t.Helper()
	err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end, BlockFragment: r.fields(pairs...)})
	if err != nil {
		r.t.Fatal(err)
	}
}

// next reads the next frame that is about streams, or ends the connection, as text.
func (r *rawConn) next() string {
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return "end"
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = r.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				_ = r.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			s := fmt.Sprintf("%d HEADERS", f.StreamID)
			if v := f.PseudoValue("status"); v != "" {
				s += " " + v
			}
			for _, h := range f.RegularFields() {
				if h.Name == "grpc-status" {
					s += " grpc " + h.Value
				}
			}
			return s + ended(f.StreamEnded())
		case *http2.DataFrame:
			if n := len(f.Data()); n > 0 {
				_ = r.WriteWindowUpdate(0, uint32(n))
			}
			return fmt.Sprintf("%d DATA %s%s", f.StreamID, f.Data(), ended(f.StreamEnded()))
		case *http2.RSTStreamFrame:
			return fmt.Sprintf("%d RST_STREAM %v", f.StreamID, f.ErrCode)
		case *http2.GoAwayFrame:
			return fmt.Sprintf("GOAWAY %v", f.ErrCode)
		}
	}
}

func ended(end bool) string {
	if end {
		return " END"
	}
	return ""
}

// answer reads what comes for one stream until it ends: its status, or why there
// is none, and its body.
func (r *rawConn) answer(id uint32) (status, body string) {
	prefix := fmt.Sprintf("%d ", id)
	for {
		s := r.next()
		switch {
		case s == "end" || strings.HasPrefix(s, "GOAWAY"):
			return s, body
		case !strings.HasPrefix(s, prefix):
			continue
		}
		s = s[len(prefix):]
		switch {
		case strings.HasPrefix(s, "RST_STREAM"):
			if status == "" {
				status = s
			}
			return status, body
		case strings.HasPrefix(s, "HEADERS") && status == "":
			status = strings.TrimSuffix(s[len("HEADERS "):], " END")
		case strings.HasPrefix(s, "DATA"):
			body += strings.TrimSuffix(s[len("DATA "):], " END")
		}
		if strings.HasSuffix(s, " END") {
			return status, body
		}
	}
}

// rawApp is an application that speaks frames; serve runs for each connection.
func rawApp(t testing.TB, serve func(n int, r *rawConn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				preface := make([]byte, len(http2.ClientPreface))
				if _, err := io.ReadFull(c, preface); err != nil {
					return
				}
				r := newRawConn(t, c)
				_ = r.WriteSettings()
				serve(n, r)
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return ln.Addr().String()
}
