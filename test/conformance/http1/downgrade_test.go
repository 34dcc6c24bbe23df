// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2Case is one entry of corpus/h2/*.yaml: a request over HTTP/2, frame by frame,
// on a port whose application speaks HTTP/1.1.
type h2Case struct {
	From string  `yaml:"from"`
	Weir verdict `yaml:"weir"`
	// Fields are "name: value", pseudo-fields as well; a name that holds a colon
	// ends with ||. Escapes are those of unescape.
	Fields   []string `yaml:"fields"`
	Trailers []string `yaml:"trailers"`
	// Data are the DATA frames; without any the head ends the stream.
	Data []string `yaml:"data"`
	// End is "reset" where the client resets the stream in place of ending it.
	End string `yaml:"end"`
}

func h2Corpus(t testing.TB) map[string]*h2Case {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("corpus", "h2", "downgrade.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	cases := map[string]*h2Case{}
	if err := d.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		if c.From == "" || len(c.Fields) == 0 || !slices.Contains([]verdict{refuse, cut, forward, either}, c.Weir) {
			t.Errorf("%s needs from, weir and fields", name)
		}
	}
	return cases
}

// TestDowngraded: a request over HTTP/2 that goes to the application as HTTP/1.1
// is read there as what it was.
func TestDowngraded(t *testing.T) {
	all := readers(t)
	cases := h2Corpus(t)
	slots := make(chan struct{}, 16)
	t.Run("cases", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				runDowngrade(t, cases[name], all)
			})
		}
	})
}

func runDowngrade(t *testing.T, c *h2Case, all []*reader) {
	t.Helper()
	for mode, bodies := range map[string]bool{"buffered": true, "streamed": false} {
		o := newOrigin(t, nil)
		r := &recorder{bodies: bodies}
		f := startProxy(t, r, o)
		conn := f.dial(t)
		cl := newH2Client(conn)
		first := cl.exchange(t, 1, c.Fields, c.Data, c.Trailers, c.End)
		second := 0
		if !cl.over {
			second = cl.exchange(t, 3, []string{":method: GET", ":scheme: http", ":authority: h", ":path: /next"}, nil, nil, "")
		}
		_ = conn.Close()
		f.stop(t)
		p := &proxied{forwarded: o.received(), intents: r.seen}
		p.nextLast()
		for _, reader := range all {
			got, err := reader.readAll(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := agree(p.sent(), got); err != nil {
				t.Errorf("%s, %s: %v", mode, reader.name, err)
				for _, c := range p.forwarded {
					t.Logf("forwarded: %q", c.pieces)
				}
			}
			if reader == all[0] {
				c.check(t, mode, p, got.requests, first)
			}
		}
		if !cl.over && second != 200 {
			t.Errorf("%s: the next stream got %d", mode, second)
		}
	}
}

// nextLast puts the second stream's request last: the end of the first may still
// be on its way to the application when it comes.
func (p *proxied) nextLast() {
	slices.SortStableFunc(p.intents, func(a, b *intent) int { return cmp.Compare(order(a.Target), order(b.Target)) })
	slices.SortStableFunc(p.forwarded, func(a, b *received) int {
		return cmp.Compare(order(string(a.first())), order(string(b.first())))
	})
}

func order(s string) int {
	if s == "/next" || strings.HasPrefix(s, "GET /next ") {
		return 1
	}
	return 0
}

// check holds the proxy to what the case asks of its first stream.
func (c *h2Case) check(t *testing.T, mode string, p *proxied, whole []request, status int) {
	t.Helper()
	sent := slices.DeleteFunc(p.sent(), func(i *intent) bool { return order(i.Target) > 0 })
	read := slices.DeleteFunc(slices.Clone(whole), func(r request) bool { return order(r.Target) > 0 })
	switch c.Weir {
	case refuse:
		if len(sent) > 0 {
			t.Errorf("%s: %v reached the application", mode, sent)
		}
		if status != 0 && status < 400 {
			t.Errorf("%s: the client got %d", mode, status)
		}
	case cut:
		if len(read) > 0 || status == 200 {
			t.Errorf("%s: the application read %v whole, the client got %d", mode, read, status)
		}
	case forward:
		if len(read) != 1 || status != 200 {
			t.Errorf("%s: the application read %v, the client got %d", mode, read, status)
		}
	case either:
	}
}

// h2Client writes frames as they are given and reads what comes back.
type h2Client struct {
	fr   *http2.Framer
	head bytes.Buffer
	enc  *hpack.Encoder
	// over: the server has ended the connection.
	over bool
}

func newH2Client(conn net.Conn) *h2Client {
	_, _ = conn.Write([]byte(http2.ClientPreface))
	c := &h2Client{fr: http2.NewFramer(conn, conn)}
	c.enc = hpack.NewEncoder(&c.head)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = c.fr.WriteSettings()
	_ = c.fr.WriteSettingsAck()
	return c
}

// exchange sends one request and returns the status of its response, 0 where the
// stream or the connection was ended without one.
func (c *h2Client) exchange(t *testing.T, id uint32, fields, data, trailers []string, end string) int {
	t.Helper()
	c.headers(t, id, fields, data == nil)
	for i, d := range data {
		last := i == len(data)-1 && len(trailers) == 0 && end == ""
		_ = c.fr.WriteData(id, last, text(t, d))
	}
	if len(trailers) > 0 {
		c.headers(t, id, trailers, true)
	}
	if end == "reset" {
		_ = c.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		return 0
	}
	return c.response(id)
}

// headers writes one block, over as many frames as it takes.
func (c *h2Client) headers(t *testing.T, id uint32, fields []string, ends bool) {
	t.Helper()
	c.head.Reset()
	for _, f := range fields {
		at := 1 + strings.Index(f[1:], ": ")
		if n := strings.Index(f, "||: "); n >= 0 {
			f = strings.Replace(f, "||", "", 1)
			at = n
		}
		_ = c.enc.WriteField(hpack.HeaderField{Name: string(text(t, f[:at])), Value: string(text(t, f[at+2:]))})
	}
	const most = 16 << 10
	block := bytes.Clone(c.head.Bytes())
	now := block[:min(len(block), most)]
	block = block[len(now):]
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: now, EndStream: ends, EndHeaders: len(block) == 0})
	for len(block) > 0 {
		now = block[:min(len(block), most)]
		block = block[len(now):]
		_ = c.fr.WriteContinuation(id, len(block) == 0, now)
	}
}

func text(t *testing.T, s string) []byte {
	t.Helper()
	pieces, err := unescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return pieces[0]
}

// response reads to the end of a stream.
func (c *h2Client) response(id uint32) (status int) {
	for {
		f, err := c.fr.ReadFrame()
		if err != nil {
			c.over = true
			return status
		}
		if g, ok := f.(*http2.GoAwayFrame); ok && g.ErrCode != http2.ErrCodeNo {
			c.over = true
			return status
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if n, err := strconv.Atoi(f.PseudoValue("status")); err == nil && n >= 200 {
				status = n
			}
			if f.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeNo {
				status = 0
			}
			return status
		}
	}
}

// TestDowngradedPage: the page counts these cases too.
func TestDowngradedPage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(h2Corpus(t)); !strings.Contains(string(b), fmt.Sprintf("%d requests over HTTP/2", n)) {
		t.Errorf("%s does not say that there are %d requests over HTTP/2", page, n)
	}
}
