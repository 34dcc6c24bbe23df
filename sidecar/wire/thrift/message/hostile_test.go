// SPDX-License-Identifier: Apache-2.0

package message

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func raw(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHostileStructs: what made libraries allocate, recurse, loop or panic is refused
// at once, with nothing allocated.
func TestHostileStructs(t *testing.T) {
	deep := func(one string, n int) string { return strings.Repeat(one, n) }
	tests := map[string]struct {
		p    Protocol
		hex  string
		want string
	}{
		// CVE-2020-13949, CVE-2026-43868: memory for what a length promises.
		"a string of 2 GiB":               {Binary, "0b 0001 7fffffff 61", "more than there is"},
		"a string of less than nothing":   {Binary, "0b 0001 ffffffff 61", "more than there is"},
		"a list of 2 G":                   {Binary, "0f 0001 08 7fffffff", "more than there is"},
		"a list of less than nothing":     {Binary, "0f 0001 08 80000000", "negative"},
		"a list of structs":               {Binary, "0f 0001 0c 00000100 00", "more than there is"},
		"a set of bools":                  {Binary, "0e 0001 02 7fffffff", "more than there is"},
		"a map of 2 G":                    {Binary, "0d 0001 08 08 7fffffff", "more than there is"},
		"a map of less than nothing":      {Binary, "0d 0001 08 08 ffffffff", "negative"},
		"compact: a string of 4 GiB":      {Compact, "18 ffffffff0f 61", "more than there is"},
		"compact: a list of 4 G":          {Compact, "19 f5 ffffffff0f", "more than there is"},
		"compact: a set of structs":       {Compact, "1a fc ffffff7f 00", "more than there is"},
		"compact: a map of 4 G":           {Compact, "1b ffffffff0f 88", "more than there is"},
		"compact: UUIDs":                  {Compact, "19 3d 00", "more than there is"},
		"a list of doubles just too long": {Binary, "0f 0001 04 00000002 0000000000000000 00", "more than there is"},
		// CVE-2019-0205, CVE-2026-43871: elements that take no bytes.
		"a list of void":           {Binary, "0f 0001 01 7fffffff", "type that there is not"},
		"a list of stops":          {Binary, "0f 0001 00 00000001", "type that there is not"},
		"a map of void":            {Binary, "0d 0001 01 01 7fffffff", "type that there is not"},
		"compact: a list of stops": {Compact, "19 f0 ffffffff0f", "type that there is not"},
		"compact: a map of stops":  {Compact, "1b ffffffff0f 00", "type that there is not"},
		// CVE-2015-3254: recursion.
		"structs in structs":          {Binary, deep("0c 0001", 100) + deep("00", 100), "deeper"},
		"lists in lists":              {Binary, "0f 0001" + deep("0f 00000001", 100) + deep("00", 100), "deeper"},
		"maps in maps":                {Binary, "0d 0001" + deep("0d 0d 00000001", 100) + deep("00", 100), "deeper"},
		"compact: structs in structs": {Compact, deep("1c", 100) + deep("00", 100), "deeper"},
		"compact: lists in lists":     {Compact, "19" + deep("19", 100) + deep("00", 100), "deeper"},
		"JSON: lists in lists":        {JSON, hex.EncodeToString([]byte(`{"1":{"lst":` + deep("[", 1000))), "deeper"},
		"JSON: structs in structs":    {JSON, hex.EncodeToString([]byte(deep(`{"1":{"rec":`, 100))), "deeper"},
		// Varints.
		"compact: a long i32":        {Compact, "15 ffffffffff01", "more than 32 bits"},
		"compact: an endless i32":    {Compact, "15 " + deep("80", 20), "more than 32 bits"},
		"compact: a long i64":        {Compact, "16 ffffffffffffffffff02", "more than 64 bits"},
		"compact: an endless i64":    {Compact, "16 " + deep("80", 20), "more than 64 bits"},
		"compact: a long length":     {Compact, "18 ffffffff1f", "more than 32 bits"},
		"compact: an id too large":   {Compact, "05 808008 00 00", "id of a field"},
		"compact: ids that overflow": {Compact, "05 feff03 00 15 00", "id of a field"},
		"compact: a stop with an id": {Compact, "10", "type that there is not"},
		"compact: type 14":           {Compact, "1e", "type that there is not"},
		// What one reader takes the first of and the other the last.
		"a field twice":               {Binary, "08 0001 00000001 08 0001 00000002 00", "twice"},
		"a field twice, of two types": {Binary, "08 0001 00000001 0b 0001 00000000 00", "twice"},
		"compact: a field twice":      {Compact, "15 02 05 02 04 00", "twice"},
		"compact: field 0 twice":      {Compact, "05 00 02 05 00 02 00", "twice"},
		"type 1":                      {Binary, "01 0001", "type that there is not"},
		"type 255":                    {Binary, "ff 0001", "type that there is not"},
		// CVE-2019-0210: JSON that is none.
		"JSON: no struct":                   {JSON, hex.EncodeToString([]byte(`[1]]`)), "no struct"},
		"JSON: a string for a struct":       {JSON, hex.EncodeToString([]byte(`"a"]`)), "no struct"},
		"JSON: a bare word":                 {JSON, hex.EncodeToString([]byte(`{"1":{"tf":true}}]`)), "no value"},
		"JSON: a bracket that closes none":  {JSON, hex.EncodeToString([]byte(`{"1":[2}]`)), "closes none"},
		"JSON: a control character":         {JSON, hex.EncodeToString([]byte("{\"1\x00")), "control character"},
		"JSON: an escape that there is not": {JSON, hex.EncodeToString([]byte(`{"1\x`)), "escape"},
		"JSON: half an escape":              {JSON, hex.EncodeToString([]byte(`{"1\u00"`)), "escape"},
		"JSON: two structs":                 {JSON, hex.EncodeToString([]byte(`{},{}]`)), "what follows"},
		"JSON: no comma":                    {JSON, hex.EncodeToString([]byte(`{"1":{}"2":{}}]`)), "what follows"},
		"JSON: a colon in a list":           {JSON, hex.EncodeToString([]byte(`{"1":[2:3]}]`)), "what follows"},
		"JSON: two colons":                  {JSON, hex.EncodeToString([]byte(`{"1":2:3}]`)), "what follows"},
		"JSON: a key alone":                 {JSON, hex.EncodeToString([]byte(`{"1"}]`)), "what follows"},
		"JSON: a comma first":               {JSON, hex.EncodeToString([]byte(`{,}]`)), "no value"},
		"JSON: a comma last":                {JSON, hex.EncodeToString([]byte(`{"1":2,}]`)), "no value"},
		"JSON: white space":                 {JSON, hex.EncodeToString([]byte(`{ }]`)), "no value"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := raw(t, test.hex)
			var s Scanner
			var err error
			allocs := testing.AllocsPerRun(1, func() {
				s.Reset(test.p, int64(len(b))+4)
				_, err = s.Scan(b)
			})
			var m Malformed
			if !errors.As(err, &m) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if allocs > 0 {
				t.Errorf("%v allocations", allocs)
			}
			// Byte by byte, it is refused as well.
			s.Reset(test.p, int64(len(b))+4)
			if _, err := dribble(&s, b, 1); !errors.As(err, &m) {
				t.Errorf("byte by byte: got %v", err)
			}
			// Nobody else trips over it.
			var d Digester
			_, _ = d.Digest(test.p, b)
			_, _, _, _ = Find(test.p, b, []int16{1, 1})
		})
	}
}

// dribble gives s pieces of at most n bytes, and again what it leaves of them.
func dribble(s *Scanner, b []byte, n int) (passed int, err error) {
	have := 0
	for {
		k, err := s.Scan(b[passed:have])
		passed += k
		if err != nil || s.Done() || have == len(b) {
			return passed, err
		}
		have = min(have+n, len(b))
	}
}

func TestDepth(t *testing.T) {
	for n, ok := range map[int]bool{MaxDepth - 1: true, MaxDepth: false} {
		for p, one := range map[Protocol]string{Binary: "0c0001", Compact: "1c"} {
			b := raw(t, strings.Repeat(one, n)+strings.Repeat("00", n+1))
			var s Scanner
			s.Reset(p, int64(len(b)))
			if _, err := s.Scan(b); (err == nil) != ok {
				t.Errorf("%v, %d structs in the arguments: %v", p, n, err)
			}
		}
		b := []byte(strings.Repeat(`{"1":{"rec":`, n) + "{}" + strings.Repeat(`}}`, n) + "]")
		var s Scanner
		s.Reset(JSON, int64(len(b)))
		if _, err := s.Scan(b); ok && (err != nil || !s.Done()) {
			t.Errorf("JSON, %d structs in the arguments: %v", n, err)
		}
	}
}

// TestShort: what is cut off is never whole, and never refused.
func TestShort(t *testing.T) {
	for _, w := range corpus(t) {
		f := w.form()
		o := open(t, f, w.bytes)
		for n := range o.message {
			h, err := ParseHead(f.Protocol, o.message[:n])
			if (n < o.head.Struct) != errors.Is(err, ErrShort) {
				t.Fatalf("%v: %d bytes of the head: %v, %v", &w, n, h, err)
			}
		}
		args := o.args()
		for n := range args {
			var s Scanner
			s.Reset(f.Protocol, int64(len(args)))
			k, err := s.Scan(args[:n])
			if err != nil || s.Done() || n-k > 11 {
				t.Fatalf("%v: %d bytes of the struct: %d passed, %v, %v", &w, n, k, s.Done(), err)
			}
			if f.Protocol == JSON && n == len(args)-1 {
				continue // The struct is whole, the message is not.
			}
			if _, _, whole, err := Find(f.Protocol, args[:n], []int16{13, 3, 1}); whole || err != nil {
				t.Fatalf("%v: %d bytes of the struct: %v, %v", &w, n, whole, err)
			}
			var d Digester
			if _, err := d.Digest(f.Protocol, args[:n]); !errors.Is(err, ErrShort) {
				t.Fatalf("%v: the digest of %d bytes: %v", &w, n, err)
			}
		}
		if f.Transport == Unframed {
			continue
		}
		for n := range w.bytes[:o.envelope.Message] {
			if err := ParseEnvelope(f.Transport, w.bytes[:n], 0, &Envelope{}); !errors.Is(err, ErrShort) {
				t.Fatalf("%v: %d bytes of the envelope: %v", &w, n, err)
			}
		}
	}
}

// TestPartial: a field is found in what has come of a struct in a struct.
func TestPartial(t *testing.T) {
	for _, w := range corpus(t) {
		if w.says != "call" || w.library == "kitex" {
			continue
		}
		o := open(t, w.form(), w.bytes)
		args := o.args()
		at := bytes.Index(args, []byte("inner"))
		n := at + len("inner") + 1
		v, found, whole, err := Find(o.head.Protocol, args[:n], []int16{13, 1})
		if string(v.Append(nil)) != "inner" || !found || whole || err != nil {
			t.Errorf("%v: got %q, %v, %v, %v", &w, v.Append(nil), found, whole, err)
		}
	}
}

func TestHostileHeads(t *testing.T) {
	tests := map[string]struct {
		p    Protocol
		b    string
		want string
	}{
		"a name of 2 GiB":          {Binary, "\x80\x01\x00\x01\x7f\xff\xff\xff", "length of its name"},
		"a name of -1":             {Binary, "\x80\x01\x00\x01\xff\xff\xff\xff", "length of its name"},
		"no name":                  {Binary, "\x80\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", "length of its name"},
		"version 2":                {Binary, "\x80\x02\x00\x01", "version 1"},
		"no version":               {Binary, "\x00\x00\x00\x03Pay", "version 1"},
		"type 0":                   {Binary, "\x80\x01\x00\x00\x00\x00\x00\x01a\x00\x00\x00\x00", "type of a message"},
		"type 5":                   {Binary, "\x80\x01\x00\x05\x00\x00\x00\x01a\x00\x00\x00\x00", "type of a message"},
		"a line in a name":         {Binary, "\x80\x01\x00\x01\x00\x00\x00\x02a\n\x00\x00\x00\x00", "control character"},
		"lax: a name of 16 MiB":    {BinaryLax, "\x01\x00\x00\x00", "length of its name"},
		"lax: type 5":              {BinaryLax, "\x00\x00\x00\x01a\x05\x00\x00\x00\x00", "type of a message"},
		"compact: a long sequence": {Compact, "\x82\x21\xff\xff\xff\xff\x1f", "more than 32 bits"},
		"compact: a long name":     {Compact, "\x82\x21\x01\x81\x02", "length of its name"},
		"compact: version 2":       {Compact, "\x82\x22", "version 1"},
		"compact: type 5":          {Compact, "\x82\xa1\x00\x01a", "type of a message"},
		"JSON: version 2":          {JSON, `[2,"`, "version 1"},
		"JSON: white space":        {JSON, `[1, "`, "version 1"},
		"JSON: an endless name":    {JSON, `[1,"` + strings.Repeat("a", 300), "length of its name"},
		"JSON: an escaped name":    {JSON, `[1,"\u0061",1,1,{}]`, "escaped"},
		"JSON: type 257":           {JSON, `[1,"a",257,1,{}]`, "type of a message"},
		"JSON: type -1":            {JSON, `[1,"a",-1,1,{}]`, "type of a message"},
		"JSON: a large sequence":   {JSON, `[1,"a",1,2147483648,{}]`, "no number"},
		"JSON: an endless number":  {JSON, `[1,"a",1,` + strings.Repeat("1", 100), "no number"},
		"JSON: a plus":             {JSON, `[1,"a",+1,1,{}]`, "no number"},
		"JSON: no number":          {JSON, `[1,"a",,1,{}]`, "no number"},
		"no protocol":              {0, "a", "protocol"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if h, err := ParseHead(test.p, []byte(test.b)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v, want %q", h, err, test.want)
			}
		})
	}
}

func TestHostileEnvelopes(t *testing.T) {
	tests := map[string]struct {
		transport Transport
		hex       string
		want      string
	}{
		"a frame of 4 GiB":           {Framed, "ffffffff", "length of its frame"},
		"a frame of 0":               {Framed, "00000000", "length of its frame"},
		"a frame of MaxFrame and 1":  {Framed, "00fa0001", "length of its frame"},
		"a header in 9 bytes":        {Header, "00000009 0fff", "too short"},
		"another magic":              {Header, "0000002a 1000", "no header"},
		"a header and no message":    {Header, "0000000e 0fff0000 00000007 0001 00000000", "as long as its frame"},
		"a header over its frame":    {Header, "0000002a 0fff0000 00000007 ffff", "as long as its frame"},
		"five transforms":            {Header, "0000002a 0fff0000 00000007 0002 0005000000000000", "more transforms"},
		"4 G transforms":             {Header, "0000002a 0fff0000 00000007 0002 00ffffffff0f0000", "more transforms"},
		"snappy":                     {Header, "0000002a 0fff0000 00000007 0001 00010300", "transform"},
		"zlib twice":                 {Header, "0000002a 0fff0000 00000007 0001 00020101", "transform"},
		"protocol 9":                 {Header, "0000002a 0fff0000 00000007 0001 09000000", "protocol"},
		"129 infos":                  {Header, "0000002a 0fff0000 00000007 0002 0000018101000000", "more infos"},
		"an info over its header":    {Header, "0000002a 0fff0000 00000007 0002 0000010109610000", "length of an info"},
		"an info of 4 GiB":           {Header, "0000002a 0fff0000 00000007 0003 000001 01ffffffff0f000000", "length of an info"},
		"infos cut off":              {Header, "0000002a 0fff0000 00000007 0001 00000103", "varint in its header"},
		"infos behind the padding":   {Header, "0000002a 0fff0000 00000007 0002 0000000101016b00", "behind the infos"},
		"a long varint":              {Header, "0000002a 0fff0000 00000007 0002 ffffffffff000000", "varint in its header"},
		"TTHeader: a transform":      {TTHeader, "0000002a 10000000 00000007 0001 00010000 80010001 00", "transform"},
		"TTHeader: streaming":        {TTHeader, "0000002a 10000002 00000007 0001 00000000 80010001 00", "streaming"},
		"TTHeader: no words":         {TTHeader, "0000002a 10000000 00000007 0000 80010001 00", "too short"},
		"TTHeader: another frame":    {TTHeader, "0000002a 10000000 00000007 0001 00000000 00000099 80010001", "length of the frame"},
		"TTHeader: no Thrift":        {TTHeader, "0000002a 10000000 00000007 0001 00000000 0a010001 00", "protocol"},
		"TTHeader: an info too long": {TTHeader, "0000002a 10000000 00000007 0002 0000010001ffff00 80010001 00", "length of an info"},
		"TTHeader: infos cut off":    {TTHeader, "0000002a 10000000 00000007 0001 00001000 80010001 00", "length of an info"},
		"TTHeader: an unknown kind":  {TTHeader, "0000002a 10000000 00000007 0001 00000200 80010001 00", "kind of infos"},
		"TTHeader: two tokens":       {TTHeader, "0000002a 10000000 00000007 0002 0000110000110000 80010001 00", "two tokens"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var e Envelope
			if err := ParseEnvelope(test.transport, raw(t, test.hex), 0, &e); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v, want %q", e, err, test.want)
			}
		})
	}
	if err := ParseEnvelope(Framed, raw(t, "00000401"), 1024, &Envelope{}); err == nil {
		t.Error("a frame longer than this port allows was taken")
	}
}

// TestZipBomb: what comes out of a few bytes is bounded, and so is the memory for it.
func TestZipBomb(t *testing.T) {
	var bomb bytes.Buffer
	w := zlib.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = w.Write(zeros)
	}
	_ = w.Close()
	const limit = 1 << 20
	var z Inflater
	b, err := z.Inflate(nil, bomb.Bytes(), limit)
	if err == nil || !strings.Contains(err.Error(), "longer than") || cap(b) > 4*limit {
		t.Errorf("got %d bytes in %d, %v", len(b), cap(b), err)
	}
	for name, test := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":        {nil, "goes on"},
		"no zlib":        {[]byte("abcdef"), "cannot be decompressed"},
		"bytes after it": {append(deflate(t, []byte("a")), 0), "behind what is compressed"},
		"a wrong sum":    {append(deflate(t, []byte("a"))[:9], 1, 2, 3, 4)[:12], ""},
	} {
		if _, err := z.Inflate(nil, test.b, limit); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
	if b, err := z.Inflate([]byte("x"), deflate(t, []byte("abc")), 3); string(b) != "xabc" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

func deflate(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestTTHeader reads one as Kitex writes it, with and without a frame around the
// message.
func TestTTHeader(t *testing.T) {
	call := AppendHead(nil, Binary, Call, []byte("Pay"), 7)
	call = append(call, 0)
	for _, nested := range []bool{false, true} {
		e := Envelope{Transport: TTHeader, Seq: 9, Flags: 1, Nested: nested, token: []byte("secret"), Infos: []Info{
			{Number: InfoFromService, Numbered: true, Value: []byte("checkout")},
			{Number: InfoToMethod, Numbered: true, Value: []byte("Pay")},
			{Key: []byte("Idempotency-Key"), Value: []byte("k")},
		}}
		b, ok := AppendEnvelope(nil, &e, len(call))
		if !ok {
			t.Fatal("no room")
		}
		b = append(b, call...)
		o := open(t, Form{Transport: TTHeader}, b)
		if string(o.head.Name) != "Pay" || o.envelope.Nested != nested || o.envelope.Seq != 9 || o.envelope.Flags != 1 || string(o.envelope.token) != "secret" {
			t.Errorf("got %+v", o)
		}
		if v, n := o.envelope.Number(InfoFromService); string(v) != "checkout" || n != 1 {
			t.Errorf("got %q, %d", v, n)
		}
		if v, n := o.envelope.Get("idempotency-key"); string(v) != "k" || n != 1 {
			t.Errorf("got %q, %d", v, n)
		}
		if int(binary.BigEndian.Uint32(b)) != len(b)-4 || (len(b)-len(call)-fixedHeader)%4 != 0 {
			t.Errorf("%x", b)
		}
	}
}
