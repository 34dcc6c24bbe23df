// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/wire/sniff"
)

// written is a message that one of Apache's libraries wrote, or Kitex's
// (hack/thriftcorpus).
type written struct {
	library, says, transport, protocol string
	bytes                              []byte
}

func (w *written) String() string {
	return strings.Join([]string{w.library, w.says, w.transport, w.protocol}, " ")
}

func (w *written) form() Form {
	p := map[string]Protocol{"binary": Binary, "lax": BinaryLax, "compact": Compact, "json": JSON}[w.protocol]
	t := map[string]Transport{"unframed": Unframed, "framed": Framed, "header": Header, "header-zlib": Header,
		"ttheader": TTHeader, "ttheader-framed": TTHeader}[w.transport]
	return Form{t, p}
}

// corpus is all that was written.
func corpus(t testing.TB) (all []written) {
	t.Helper()
	files, err := filepath.Glob("testdata/written/*.txt")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		library := strings.TrimSuffix(filepath.Base(file), ".txt")
		for lines := bufio.NewScanner(f); lines.Scan(); {
			part := strings.Fields(lines.Text())
			b, err := hex.DecodeString(part[3])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, written{library, part[0], part[1], part[2], b})
		}
		_ = f.Close()
	}
	return all
}

// opened is a message out of its envelope.
type opened struct {
	envelope Envelope
	head     Head
	// message is the head and the struct, inflated.
	message []byte
}

// open takes b, which is whole, out of its envelope.
func open(t testing.TB, f Form, b []byte) opened {
	t.Helper()
	var o opened
	if err := ParseEnvelope(f.Transport, b, 0, &o.envelope); err != nil {
		t.Fatal(err)
	}
	if f.Transport != Unframed && o.envelope.Length != len(b) {
		t.Fatalf("%d bytes, and the envelope says %d", len(b), o.envelope.Length)
	}
	p := f.Protocol
	if o.envelope.Protocol != 0 {
		p = o.envelope.Protocol
	}
	o.message = b[o.envelope.Message:]
	var err error
	if o.envelope.Zlib {
		var z Inflater
		if o.message, err = z.Inflate(nil, o.message, MaxFrame); err != nil {
			t.Fatal(err)
		}
	}
	if o.head, err = ParseHead(p, o.message); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *opened) args() []byte { return o.message[o.head.Struct:] }

// TestWritten reads what the libraries write.
func TestWritten(t *testing.T) {
	heads := map[string]Head{
		"call":             {Type: Call, Name: []byte("Pay"), Seq: 7},
		"call-reversed":    {Type: Call, Name: []byte("Pay"), Seq: 8},
		"call-multiplexed": {Type: Call, Name: []byte("svc:Pay"), Seq: -2},
		"call-empty":       {Type: Call, Name: []byte("ping")},
		"oneway":           {Type: Oneway, Name: []byte("Note"), Seq: 2147483647},
		"kitex oneway":     {Type: Oneway, Name: []byte("Pay"), Seq: 7},
		"reply":            {Type: Reply, Name: []byte("Pay"), Seq: 7},
		"reply-void":       {Type: Reply, Name: []byte("Pay"), Seq: 300},
		"reply-declared":   {Type: Reply, Name: []byte("Pay"), Seq: 7},
		"exception":        {Type: Exception, Name: []byte("Pay"), Seq: 7},
	}
	results := map[string]Result{
		"reply": {Type: Reply}, "reply-void": {Type: Reply, Field: -1}, "reply-declared": {Type: Reply, Field: 1},
		"exception": {Type: Exception, Code: 6},
	}
	for _, w := range corpus(t) {
		t.Run(w.String(), func(t *testing.T) {
			f := w.form()
			o := open(t, f, w.bytes)
			want := heads[w.says]
			if w.library == "kitex" && w.says == "oneway" {
				want = heads["kitex oneway"]
			}
			if o.head.Type != want.Type || string(o.head.Name) != string(want.Name) || o.head.Seq != want.Seq || o.head.Protocol != f.Protocol {
				t.Errorf("got %+v, want %+v", o.head, want)
			}
			if f.Transport == TTHeader {
				if service, n := o.envelope.Number(InfoFromService); string(service) != "checkout" || n != 1 || string(o.envelope.token) != "secret" {
					t.Errorf("who calls: %q, %d of them; token %q", service, n, o.envelope.token)
				}
				if key, n := o.envelope.Get("idempotency-key"); string(key) != "k-1" || n != 1 || len(o.envelope.Infos) != 5 {
					t.Errorf("idempotency-key: %q, %d of them", key, n)
				}
			}
			if f.Transport == Header {
				key, n := o.envelope.Get("idempotency-key")
				if string(key) != "k-1" || n != 1 {
					t.Errorf("idempotency-key: %q, %d of them", key, n)
				}
				if client, n := o.envelope.Get("x-client-id"); string(client) != "gold-co" || n != 1 || len(o.envelope.Infos) != 2 {
					t.Errorf("x-client-id: %q, %d of them", client, n)
				}
			}
			var s Scanner
			s.Reset(f.Protocol, int64(len(o.args())))
			if n, err := s.Scan(o.args()); n != len(o.args()) || err != nil || !s.Done() {
				t.Errorf("%d of %d bytes scanned, %v", n, len(o.args()), err)
			}
			if want, ok := results[w.says]; ok {
				if got, err := ResultOf(&o.head, o.args()); got != want || err != nil {
					t.Errorf("got %+v, %v", got, err)
				}
			}
			// What is written anew is what was read.
			if got, err := AppendReseq(nil, f.Protocol, o.message, o.head.Seq); string(got) != string(o.message) || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, o.message)
			}
			size := len(w.bytes) - o.envelope.Message
			// Kitex writes its infos in the order of what comes first.
			if b, ok := AppendEnvelope(nil, &o.envelope, size); !ok || len(b) != o.envelope.Message ||
				w.library != "kitex" && string(b) != string(w.bytes[:o.envelope.Message]) {
				t.Errorf("got %x, want %x", b, w.bytes[:o.envelope.Message])
			}
		})
	}
}

// TestWrittenForms: package sniff knows each call by its first bytes.
func TestWrittenForms(t *testing.T) {
	for _, w := range corpus(t) {
		want := w.form()
		if want.Transport.Headers() {
			want.Protocol = 0
		}
		if got, ok := FormOf(sniff.Classify(w.bytes)); got != want || !ok {
			t.Errorf("%v: got %v, want %v", &w, got, want)
		}
		if got := sniff.Classify(w.bytes[:min(len(w.bytes), sniff.MaxBytes)]); !got.Thrift() {
			t.Errorf("%v: its beginning is %v", &w, got)
		}
	}
}

// TestWrittenFields walks to fields of what the libraries write.
func TestWrittenFields(t *testing.T) {
	fields := []struct {
		path []int16
		want string
	}{
		{[]int16{1}, "true"}, {[]int16{2}, "false"}, {[]int16{3}, "-5"}, {[]int16{4}, "-300"}, {[]int16{5}, "70000"},
		{[]int16{6}, "-5000000000000"}, {[]int16{8}, "héllo\n\"q\""}, {[]int16{13, 1}, "inner"}, {[]int16{13, 3, 1}, "5"},
		{[]int16{40}, "far"}, {[]int16{200}, "-1"},
	}
	missing := [][]int16{{7}, {10}, {11}, {12}, {13}, {13, 2}, {13, 1, 1}, {41}, {}, {0}, {13, 3, 1, 1}}
	for _, w := range corpus(t) {
		if w.says != "call" && w.says != "call-multiplexed" || w.library == "kitex" {
			continue
		}
		o := open(t, w.form(), w.bytes)
		for _, f := range fields {
			v, found, whole, err := Find(o.head.Protocol, o.args(), f.path)
			if got := string(v.Append(nil)); got != f.want || !found || !whole || err != nil {
				t.Errorf("%v, %v: got %q, %v, %v, %v; want %q", &w, f.path, got, found, whole, err, f.want)
			}
			if b := v.Bytes(); b != nil && string(b) != f.want {
				t.Errorf("%v, %v: got %q, want %q", &w, f.path, b, f.want)
			}
		}
		for _, path := range missing {
			if v, found, whole, err := Find(o.head.Protocol, o.args(), path); found || !whole || err != nil {
				t.Errorf("%v, %v: got %+v, %v, %v, %v", &w, path, v, found, whole, err)
			}
		}
		binary := map[string]string{"json": "AAH+/w"}[w.protocol]
		if binary == "" {
			binary = "\x00\x01\xfe\xff"
		}
		if v, found, _, err := Find(o.head.Protocol, o.args(), []int16{9}); strings.TrimRight(string(v.Append(nil)), "=") != binary || !found || err != nil {
			t.Errorf("%v: got %q, %v, %v", &w, v.Append(nil), found, err)
		}
	}
}

// TestWrittenDigests: the same arguments have the same fingerprint, whatever library
// wrote them, in whatever order and protocol. JSON has binary as base64, which some
// libraries pad.
func TestWrittenDigests(t *testing.T) {
	var d Digester
	seen := map[[DigestSize]byte]map[string]bool{}
	for _, w := range corpus(t) {
		if !strings.HasPrefix(w.says, "call") || w.library == "kitex" {
			continue
		}
		o := open(t, w.form(), w.bytes)
		sum, err := d.Digest(o.head.Protocol, o.args())
		if err != nil {
			t.Fatal(&w, err)
		}
		what := "everything"
		if w.says == "call-empty" {
			what = "nothing"
		} else if w.protocol == "json" {
			what += " in JSON"
			if bytes.Contains(w.bytes, []byte(`"AAH+/w=="`)) {
				what += ", padded"
			}
		}
		if seen[sum] == nil {
			seen[sum] = map[string]bool{}
		}
		seen[sum][what] = true
	}
	for sum, what := range seen {
		t.Logf("%x: %v", sum[:4], what)
		if len(what) != 1 {
			t.Errorf("the same digest of %v", what)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d digests, want 4", len(seen))
	}
}
