// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"errors"
	"testing"
)

func addWritten(f *testing.F, add func(w *written, o *opened)) {
	for _, w := range corpus(f) {
		if w.library == "go" || w.library == "node" && w.protocol == "json" {
			o := open(f, w.form(), w.bytes)
			add(&w, &o)
		}
	}
}

// protocolBy is one of the protocols.
func protocolBy(b byte) Protocol { return Protocol(b%4) + Binary }

// FuzzHead: what is read as a head is, written anew, read as the same head, and a cut
// never changes what is read.
func FuzzHead(f *testing.F) {
	addWritten(f, func(w *written, o *opened) { f.Add(byte(w.form().Protocol-Binary), o.message) })
	f.Fuzz(func(t *testing.T, by byte, b []byte) {
		p := protocolBy(by)
		h, err := ParseHead(p, b)
		if err != nil {
			return
		}
		if h.Struct > len(b) || len(h.Name) == 0 || len(h.Name) > MaxName {
			t.Fatalf("%+v of %d bytes", h, len(b))
		}
		again, err := ParseHead(p, AppendHead(nil, p, h.Type, h.Name, h.Seq))
		if err != nil || again.Type != h.Type || again.Seq != h.Seq || !bytes.Equal(again.Name, h.Name) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
		for n := range h.Struct {
			if _, err := ParseHead(p, b[:n]); !errors.Is(err, ErrShort) {
				t.Fatalf("%d bytes of %q: %v", n, b, err)
			}
		}
		if service, method := h.Split(); len(service)+len(method) > len(h.Name) {
			t.Fatalf("%q and %q of %q", service, method, h.Name)
		}
	})
}

// FuzzEnvelope: what is read of an envelope is, written anew, read as the same.
func FuzzEnvelope(f *testing.F) {
	addWritten(f, func(w *written, _ *opened) { f.Add(byte(w.form().Transport-Unframed), w.bytes) })
	f.Add(byte(3), []byte("\x00\x00\x00\x1b\x10\x00\x00\x00\x00\x00\x00\x07\x00\x02\x00\x00\x10\x00\x01\x00\x03\x00\x80\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, by byte, b []byte) {
		transport := Transport(by%4) + Unframed
		var e Envelope
		if err := ParseEnvelope(transport, b, 0, &e); err != nil {
			return
		}
		if e.Message > len(b) || e.Length != 0 && (e.Length > 4+MaxFrame || e.Message > e.Length) || len(e.Infos) > MaxInfos {
			t.Fatalf("%+v of %d bytes", e, len(b))
		}
		size := e.Length - e.Message
		out, ok := AppendEnvelope(nil, &e, size)
		if !ok {
			t.Fatalf("%+v has no room", e)
		}
		var again Envelope
		if err := ParseEnvelope(transport, append(out, b[e.Message:]...), MaxFrame, &again); err != nil {
			if e.Length >= MaxFrame-1024 {
				return // It was as long as it may be, and is written a little longer.
			}
			t.Fatalf("%x became %x: %v", b, out, err)
		}
		if again.Protocol != e.Protocol || again.Seq != e.Seq || again.Zlib != e.Zlib || again.Nested != e.Nested ||
			len(again.Infos) != len(e.Infos) || again.Length-again.Message != size {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}

// FuzzScan: pieces of any size lead to the same end, and nothing is allocated.
func FuzzScan(f *testing.F) {
	addWritten(f, func(w *written, o *opened) { f.Add(byte(w.form().Protocol-Binary), byte(1), o.args()) })
	f.Fuzz(func(t *testing.T, by, piece byte, b []byte) {
		p := protocolBy(by)
		var s, pieces Scanner
		s.Reset(p, int64(len(b)))
		n, err := s.Scan(b)
		if n > len(b) || err == nil && !s.Done() && p != JSON {
			t.Fatalf("%d of %d bytes, %v, and it goes on", n, len(b), err)
		}
		pieces.Reset(p, int64(len(b)))
		k, perr := dribble(&pieces, b, int(piece)+1)
		if (err == nil) != (perr == nil) || err == nil && (k != n || s.Done() != pieces.Done()) {
			t.Fatalf("at once: %d, %v, %v; in pieces: %d, %v, %v", n, s.Done(), err, k, pieces.Done(), perr)
		}
	})
}

// FuzzFind: no path into any bytes ends in a panic; what is found in a part is found in
// the whole; and what can be scanned can be walked.
func FuzzFind(f *testing.F) {
	addWritten(f, func(w *written, o *opened) {
		f.Add(byte(w.form().Protocol-Binary), uint16(13), uint16(1), o.args())
		f.Add(byte(w.form().Protocol-Binary), uint16(6), uint16(0), o.args())
	})
	f.Fuzz(func(t *testing.T, by byte, first, then uint16, b []byte) {
		p := protocolBy(by)
		path := []int16{int16(first)}
		if then > 0 {
			path = append(path, int16(then))
		}
		v, found, whole, err := Find(p, b, path)
		if err != nil {
			return
		}
		text := v.Append(nil)
		if part := v.Bytes(); part != nil && !bytes.Equal(part, text) {
			t.Fatalf("%q and %q", part, text)
		}
		var s Scanner
		s.Reset(p, MaxFrame)
		n, serr := s.Scan(b)
		if p == JSON || serr != nil || !s.Done() {
			return
		}
		if !whole {
			t.Fatalf("%x is whole, and cannot be walked", b)
		}
		for cut := range min(n, 200) {
			got, ok, _, err := Find(p, b[:cut], path)
			if err != nil || ok && (!found || !bytes.Equal(got.Append(nil), text)) {
				t.Fatalf("%d bytes of %x: %q, %v, %v; all: %q, %v", cut, b, got.Append(nil), ok, err, text, found)
			}
		}
	})
}

// FuzzReseq: another sequence number and then the first again is what it was, but for
// varints that were longer than they need be.
func FuzzReseq(f *testing.F) {
	addWritten(f, func(w *written, o *opened) { f.Add(byte(w.form().Protocol-Binary), int32(300), o.message) })
	f.Fuzz(func(t *testing.T, by byte, seq int32, b []byte) {
		p := protocolBy(by)
		h, err := ParseHead(p, b)
		if err != nil {
			return
		}
		other, err := AppendReseq(nil, p, b, seq)
		if err != nil {
			t.Fatal(err)
		}
		if o, err := ParseHead(p, other); err != nil || o.Seq != seq || o.Type != h.Type || !bytes.Equal(o.Name, h.Name) || !bytes.Equal(other[o.Struct:], b[h.Struct:]) {
			t.Fatalf("%x became %x: %+v, %v", b, other, o, err)
		}
		back, err := AppendReseq(nil, p, other, h.Seq)
		same, _ := AppendReseq(nil, p, b, h.Seq)
		if err != nil || !bytes.Equal(back, same) {
			t.Fatalf("%x came back as %x, %v", b, back, err)
		}
		if canonical := AppendHead(nil, p, h.Type, h.Name, h.Seq); bytes.HasPrefix(b, canonical) && !bytes.Equal(back, b) {
			t.Fatalf("%x came back as %x", b, back)
		}
	})
}

// FuzzDigest: what can be scanned has a digest, and nothing ends in a panic.
func FuzzDigest(f *testing.F) {
	addWritten(f, func(w *written, o *opened) { f.Add(byte(w.form().Protocol-Binary), o.args()) })
	f.Fuzz(func(t *testing.T, by byte, b []byte) {
		p := protocolBy(by)
		var d Digester
		sum, err := d.Digest(p, b)
		var s Scanner
		s.Reset(p, MaxFrame)
		_, serr := s.Scan(b)
		if p != JSON && (err == nil) != (serr == nil && s.Done()) {
			t.Fatalf("%x: scanned %v, %v; digest %v", b, s.Done(), serr, err)
		}
		if err != nil {
			return
		}
		if again, err := d.Digest(p, append(bytes.Clone(b), "more"...)); again != sum || err != nil {
			t.Fatalf("%x: %x, then %x, %v", b, sum, again, err)
		}
	})
}
