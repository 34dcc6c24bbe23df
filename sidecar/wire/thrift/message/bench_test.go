// SPDX-License-Identifier: Apache-2.0

package message

import "testing"

// call is a call of the corpus by the library for Go.
func call(b *testing.B, transport, protocol string) (Form, []byte) {
	for _, w := range corpus(b) {
		if w.library == "go" && w.says == "call" && w.transport == transport && w.protocol == protocol {
			return w.form(), w.bytes
		}
	}
	b.Fatal("no such message")
	return Form{}, nil
}

// BenchmarkCodec is what one call costs: its envelope, its head and its end; a field;
// a fingerprint. Nothing is allocated.
func BenchmarkCodec(b *testing.B) {
	for _, f := range []struct{ transport, protocol string }{
		{"framed", "binary"}, {"framed", "compact"}, {"framed", "json"}, {"header", "binary"}, {"header-zlib", "compact"},
	} {
		form, raw := call(b, f.transport, f.protocol)
		b.Run("head/"+f.transport+"/"+f.protocol, func(b *testing.B) {
			var e Envelope
			var s Scanner
			var z Inflater
			var room []byte
			b.ReportAllocs()
			for b.Loop() {
				if err := ParseEnvelope(form.Transport, raw, 0, &e); err != nil {
					b.Fatal(err)
				}
				m := raw[e.Message:]
				if e.Zlib {
					var err error
					if room, err = z.Inflate(room[:0], m, MaxFrame); err != nil {
						b.Fatal(err)
					}
					m = room
				}
				h, err := ParseHead(form.Protocol, m)
				if err != nil {
					b.Fatal(err)
				}
				s.Reset(form.Protocol, int64(len(m)-h.Struct))
				if _, err := s.Scan(m[h.Struct:]); err != nil || !s.Done() {
					b.Fatal(err)
				}
			}
		})
	}
	for _, protocol := range []string{"binary", "compact", "json"} {
		form, raw := call(b, "unframed", protocol)
		o := open(b, form, raw)
		b.Run("field/"+protocol, func(b *testing.B) {
			path := []int16{13, 3, 1}
			b.ReportAllocs()
			for b.Loop() {
				if _, found, _, err := Find(form.Protocol, o.args(), path); !found || err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("digest/"+protocol, func(b *testing.B) {
			var d Digester
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Digest(form.Protocol, o.args()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
