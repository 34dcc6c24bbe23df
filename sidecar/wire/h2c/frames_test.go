// SPDX-License-Identifier: Apache-2.0

package h2c

import (
	"bytes"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"golang.org/x/net/http2"
)

// readConn is a connection of which only Read works.
type readConn struct {
	net.Conn
	io.Reader
}

func (c readConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }
func (readConn) Close() error                 { return nil }

// The application's bound of frames is taken for the least that it may be, and no
// other byte is another, however they arrive.
func TestSmallFrames(t *testing.T) {
	for name, settings := range map[string][]http2.Setting{
		"none":    nil,
		"another": {{ID: http2.SettingInitialWindowSize, Val: 5}},
		"amid":    {{ID: http2.SettingMaxConcurrentStreams, Val: 5}, {ID: http2.SettingMaxFrameSize, Val: 1 << 20}, {ID: http2.SettingInitialWindowSize, Val: 0x50005}},
		"twice":   {{ID: http2.SettingMaxFrameSize, Val: 1 << 20}, {ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var sent, want bytes.Buffer
			_ = http2.NewFramer(&sent, nil).WriteSettings(settings...)
			for i := range settings {
				if settings[i].ID == http2.SettingMaxFrameSize {
					settings[i].Val = minMaxFrameSize
				}
			}
			_ = http2.NewFramer(&want, nil).WriteSettings(settings...)
			for _, b := range []*bytes.Buffer{&sent, &want} {
				// What follows is not looked at.
				_ = http2.NewFramer(b, nil).WriteData(1, false, []byte{0, 5, 0, 16, 0, 0})
			}
			for how, from := range map[string]io.Reader{
				"at once": bytes.NewReader(sent.Bytes()), "by bytes": iotest.OneByteReader(bytes.NewReader(sent.Bytes())),
			} {
				c := &smallFrames{Conn: readConn{Reader: from}, settled: make(chan struct{})}
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, want.Bytes()) {
					t.Errorf("%s: got %x, %v, want %x", how, got, err, want.Bytes())
				}
				<-c.settled
			}
		})
	}
	for name, raw := range map[string]string{"HTTP/1": "HTTP/1.1 400 Bad Request\r\n\r\n", "nothing": "", "a piece": "\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			c := &smallFrames{Conn: readConn{Reader: bytes.NewReader([]byte(raw))}, settled: make(chan struct{})}
			if got, err := io.ReadAll(c); err != nil || string(got) != raw {
				t.Errorf("got %q, %v", got, err)
			}
			<-c.settled
		})
	}
}
