// SPDX-License-Identifier: Apache-2.0

package http

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http/httputil"
	"strings"
	"testing"
	"testing/iotest"
)

var chunkCases = []string{
	"5\r\nhello\r\n0\r\n\r\n", "005;a=b\r\nhello\r\n0;c\r\n", "5 \t\r\nhello\r\n0\r\n", "5 ;a\r\nhello\r\n0\r\n", " 5\r\nhello\r\n0\r\n",
	"5\nhello\r\n0\r\n", "5\r\nhello\n0\r\n", "5\r\nhello0\r\n", "5\r\nhelloX\r\n0\r\n", "\r\n0\r\n", "g\r\n", "+5\r\nhello\r\n", "0x5\r\nhello\r\n",
	"-1\r\n", "ffffffffffffffff\r\nx", "7fffffffffffffff\r\nx", "10000000000000000\r\nx", "00000000000000005\r\nhello\r\n0\r\n", "5\r\nhel",
	"5\r", "5\r\nhello", "5\r\nhello\r", "5;a\rb\r\nhello\r\n0\r\n", "", "0", "5;" + strings.Repeat("a", 4091) + "\r\nhello\r\n0\r\n",
	"5;" + strings.Repeat("a", 4095) + "\r\nhello\r\n0\r\n", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 20) + "0\r\n",
	"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n", "1\r\nx\r\n1\r\ny\r\n1\r\nz\r\n0\r\n",
}

// FuzzChunks: what is read of a body in chunks is what net/http reads, and what it
// refuses is refused, however the bytes come.
func FuzzChunks(f *testing.F) {
	for _, raw := range chunkCases {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		theirs := bufio.NewReaderSize(bytes.NewReader(raw), 16<<10)
		want, wantErr := io.ReadAll(httputil.NewChunkedReader(theirs))
		wantRest, _ := io.ReadAll(theirs)
		for name, r := range map[string]io.Reader{
			"at once": bytes.NewReader(raw), "byte by byte": iotest.OneByteReader(bytes.NewReader(raw)), "halves": iotest.HalfReader(bytes.NewReader(raw)),
		} {
			br := bufio.NewReaderSize(r, 16<<10)
			got, err := io.ReadAll(&chunks{br: br})
			if wantErr != nil && err == nil {
				t.Fatalf("%s: net/http refuses it: %v", name, wantErr)
			}
			if wantErr == nil && err != nil {
				// A size that nothing can have is no size.
				if errors.Is(err, errChunkSize) && len(raw) >= 16 {
					continue
				}
				t.Fatalf("%s: net/http takes it: %v", name, err)
			}
			if err != nil {
				continue
			}
			if rest, _ := io.ReadAll(br); !bytes.Equal(got, want) || !bytes.Equal(rest, wantRest) {
				t.Fatalf("%s: got %q and %q, want %q and %q", name, got, rest, want, wantRest)
			}
		}
	})
}

// TestChunksDoNotWait: what has come of a chunk is returned, though the caller has
// room for more and the chunk has more.
func TestChunksDoNotWait(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = w.Close() }()
	go func() {
		for _, s := range []string{"ff\r\nab", "cd"} {
			_, _ = io.WriteString(w, s)
		}
	}()
	c := &chunks{br: bufio.NewReaderSize(r, 16<<10)}
	buf := make([]byte, 100)
	for _, want := range []string{"ab", "cd"} {
		if n, err := c.Read(buf); string(buf[:n]) != want || err != nil {
			t.Fatalf("got %q, %v, want %q", buf[:n], err, want)
		}
	}
}
