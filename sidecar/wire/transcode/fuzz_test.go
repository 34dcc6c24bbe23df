// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"weir.dev/weir/sidecar/wire/thrift/message"
)

// Whatever the body: a refusal, or a call that is whole, in either protocol, with the
// same arguments. What is refused for its grammar encoding/json refuses, too.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `{"amount": 1}`, `{"amount":"1","meta":{"parent":{"at":"5"}},"flags":[{"key":{},"value":true}],"weights":{"USD":-1},"notes":{"1":"\u00fc"}}`,
		`{"amount":1,"tags":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16],"rate":1e-9,"blob":"AA==","either":{"number":1},"far":"😀"}`, `{"x":[[[{"a":[]}]]],"amount":0}`,
	} {
		f.Add(body, "tag=1&urgent=true", "k")
	}
	table := shop(f)
	route := table.Find([]byte("POST"), []byte("/users/7/charges")).Route
	f.Fuzz(func(t *testing.T, body, query, key string) {
		in := &Request{Params: []string{"7"}, Query: []byte(query), Header: fields{"Idempotency-Key": {key}}, Body: []byte(body)}
		call, err := route.AppendCall(nil, Binary, 1, in)
		compact, err2 := route.AppendCall(nil, Compact, 1, in)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("binary: %v; compact: %v", err, err2)
		}
		if err != nil {
			var r *Refusal
			if !errors.As(err, &r) || r.Status < 400 || r.Detail == "" {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if len(bytes.TrimSpace([]byte(body))) > 0 && !json.Valid([]byte(body)) {
			t.Fatalf("%q is no JSON", body)
		}
		var texts []string
		for p, b := range [][]byte{call, compact} {
			wire := Protocol(p).wire()
			h, err := message.ParseHead(wire, b)
			if err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			var s message.Scanner
			s.Reset(wire, int64(len(b)))
			if n, err := s.Scan(b[h.Struct:]); err != nil || !s.Done() || n != len(b)-h.Struct {
				t.Fatalf("%x: %v, %d of %d bytes", b, err, n, len(b)-h.Struct)
			}
			d := decoder{in: b, pos: h.Struct, compact: p == 1, max: DefaultResponse}
			if err := d.object(route.Method.arguments, nil); err != nil || d.left() > 0 || !json.Valid(d.out) {
				t.Fatalf("%x: %v, %d bytes left, %s", b, err, d.left(), d.out)
			}
			texts = append(texts, string(d.out))
		}
		if texts[0] != texts[1] {
			t.Fatalf("binary has %s, compact %s", texts[0], texts[1])
		}
	})
}

// Whatever the reply: a refusal, or a response whose body is JSON.
func FuzzResponse(f *testing.F) {
	table := shop(f)
	paths := []struct{ method, path string }{
		{"POST", "/users/7/charges"}, {"GET", "/users/7/charges"}, {"POST", "/check"}, {"DELETE", "/all"}, {"GET", "/users/latest/charges"}, {"GET", "/pages/x"},
	}
	for i, at := range paths {
		name := table.Find([]byte(at.method), []byte(at.path)).Route.Method.Call
		for _, result := range []string{
			"\x00", "\x0c\x00\x00\x0b\x00\x01\x00\x00\x00\x02r1\x08\x00\x02\x00\x00\x00\xc9\x0b\x00\x04\x00\x00\x00\x01\xff\x00\x00", "\x02\x00\x00\x01\x00",
			"\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x02no\x08\x00\x02\x00\x00\x01\x99\x00\x00", "\x0f\x00\x00\x0c\x7f\xff\xff\xff\x00",
			"\x0c\x00\x00\x0c\x00\x03\x0c\x00\x03\x0a\x00\x02\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00",
		} {
			f.Add(message.AppendReply(nil, message.Binary, message.Reply, []byte(name), 1, []byte(result)), i)
		}
		f.Add(message.AppendReply(nil, message.Compact, message.Reply, []byte(name), 1, []byte("\x0c\x00\x18\x02r1\x15\x92\x03\x28\x01\xff\x1b\x01\x58\x02\x01x\x00\x00")), i)
		f.Add(message.AppendException(nil, message.Compact, []byte(name), 1, 6, []byte("no")), i)
	}
	f.Fuzz(func(t *testing.T, reply []byte, which int) {
		if which < 0 || which >= len(paths) {
			return
		}
		route := table.Find([]byte(paths[which].method), []byte(paths[which].path)).Route
		got, err := route.Response(reply, 1)
		if err != nil {
			var r *Refusal
			if !errors.As(err, &r) || r.Status < 400 || r.Detail == "" {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if got.Status < 200 || got.Status > 599 {
			t.Fatalf("status %d", got.Status)
		}
		for _, h := range got.Header {
			if !fieldValue(h.Value) {
				t.Fatalf("header %s: %q", h.Name, h.Value)
			}
		}
		if len(got.Body) > 0 && !got.isRaw && !json.Valid(got.Body) {
			t.Fatalf("body %s", got.Body)
		}
	})
}
