// SPDX-License-Identifier: Apache-2.0

package sniff

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func raw(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cases are what clients send first: text, or hex where it begins with a space.
var cases = map[string]struct {
	begin string
	want  Verdict
}{
	"nothing":                    {"", NeedMore},
	"a request":                  {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP1},
	"half a method":              {"DELE", NeedMore},
	"a method of one letter":     {"X ", HTTP1},
	"a method in lower case":     {"get /", HTTP1},
	"a long registered method":   {"UPDATEREDIRECTREF /a HTTP/1.1", HTTP1},
	"a method of 23":             {strings.Repeat("A", 23) + " ", HTTP1},
	"a method of 24":             {strings.Repeat("A", 24), Unknown},
	"a method with a bad letter": {"GE\x80T /", Unknown},
	"a header":                   {"Host: a\r\n", Unknown},
	"an empty line":              {"\r\nGET /", Unknown},
	"a space":                    {" GET /", Unknown},
	"an answer of HTTP":          {"HTTP/1.1 200 OK\r\n", Unknown},
	"an answer of SMTP":          {"220 mail ESMTP\r\n", HTTP1},
	"SSH":                        {"SSH-2.0-OpenSSH_9.2\r\n", Unknown},
	"PROXY protocol 1":           {"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n", HTTP1},
	"PROXY protocol 2":           {" 0d0a0d0a000d0a515549540a", Unknown},
	"Redis":                      {"*1\r\n$4\r\nPING\r\n", Unknown},
	"JSON":                       {`{"a":1}`, Unknown},

	"preface":                {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP2},
	"preface and more":       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04", HTTP2},
	"23 bytes of it":         {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", NeedMore},
	"preface with a request": {"PRI * HTTP/2.0\r\n\r\nGET", HTTP1},
	"PRI of HTTP/1":          {"PRI * HTTP/1.1\r\n", HTTP1},
	"the token of it":        {"PRI", NeedMore},

	"ClientHello":           {" 16 03 01 02 00 01 00 01 fc 03 03", TLS},
	"the first byte of it":  {" 16", NeedMore},
	"16 and something else": {" 16 04", Unknown},
	"an alert":              {" 15 03 01", Unknown},

	"binary":                {" 80 01 00 01 00 00 00 07 73 76 63 3a 50 61 79 00 00 00 07 00", ThriftBinary},
	"binary, oneway":        {" 80 01 ff 04", ThriftBinary},
	"binary without type":   {" 80 01 00", NeedMore},
	"binary of type 0":      {" 80 01 00 00", Unknown},
	"binary of version 2":   {" 80 02", Unknown},
	"compact":               {" 82 21 07 07", ThriftCompact},
	"compact, oneway":       {" 82 81", ThriftCompact},
	"compact, no type":      {" 82 01", Unknown},
	"compact, version 2":    {" 82 22", Unknown},
	"compact, half":         {" 82", NeedMore},
	"JSON call":             {`[1,"svc:Pay",1,7,{}]`, ThriftJSON},
	"JSON, half":            {`[1`, NeedMore},
	"an array":              {`["a"]`, Unknown},
	"array of numbers":      {`[1,2]`, Unknown},
	"framed binary":         {" 00 00 00 14 80 01 00 01 00 00 00 07 73 76 63 3a 50 61 79 00 00 00 07 00", ThriftFramedBinary},
	"framed compact":        {" 00 00 00 0c 82 21 07 07 73 76", ThriftFramedCompact},
	"framed JSON":           {" 00 00 00 15 5b 31 2c 22 73", ThriftFramedJSON},
	"framed, an array":      {" 00 00 00 15 5b 22 2c 22 73", Unknown},
	"only a length":         {" 00 00 00 14", NeedMore},
	"a length of 0":         {" 00 00 00 00", Unknown},
	"a large frame":         {" 00 fa 00 00 80 01 00 01", ThriftFramedBinary},
	"a frame too large":     {" 00 fa 00 01 80 01 00 01", Unknown},
	"framed, reply":         {" 00 00 00 14 80 01 00 02", ThriftFramedBinary},
	"framed, type 5":        {" 00 00 00 14 80 01 00 05", Unknown},
	"THeader":               {" 00 00 00 2a 0f ff 00 00 00 00 00 07 00 03", ThriftHeader},
	"THeader, half":         {" 00 00 00 2a 0f", NeedMore},
	"THeader, wrong":        {" 00 00 00 2a 0f fe", Unknown},
	"TTHeader":              {" 00 00 00 2a 10 00 00 00 00 00 00 07 00 03", ThriftTTHeader},
	"lax":                   {" 00 00 00 03 50 61 79 01 00 00 00 07 00", ThriftBinaryLax},
	"lax, no type yet":      {" 00 00 00 03 50 61 79", NeedMore},
	"lax, wrong type":       {" 00 00 00 03 50 61 79 05", Unknown},
	"lax, no name":          {" 00 00 00 03 50 01 79 01", Unknown},
	"lax, a digit first":    {" 00 00 00 03 31 61 79 01", Unknown},
	"lax, long name":        {" 00 00 01 00 " + strings.Repeat("61", 20), ThriftBinaryLax},
	"lax, name too long":    {" 00 00 01 01 " + strings.Repeat("61", 20), Unknown},
	"framed lax":            {" 00 00 00 0d 00 00 00 03 50 61 79 01 00 00 00 07 00", ThriftFramedBinaryLax},
	"framed lax, half":      {" 00 00 00 0d 00 00", NeedMore},
	"framed lax, long name": {" 00 00 00 0d 00 00 01 00 " + strings.Repeat("61", 16), ThriftFramedBinaryLax},
	"framed lax, empty":     {" 00 00 00 0d 00 00 00 00 00", Unknown},
	"framed lax, far":       {" 00 00 00 0d 00 01", Unknown},
	"DNS over TCP":          {" 00 1d 12 34 01 00 00 01 00 00 00 00 00 00", Unknown},
	"MySQL's client":        {" 20 00 00 01 85 a6 ff 01", Unknown},
	"Postgres":              {" 00 00 00 08 04 d2 16 2f", Unknown},
	"Kafka":                 {" 00 00 00 24 00 12 00 03 00 00 00 01 00 0a", Unknown},
}

func bytesOf(t testing.TB, begin string) []byte {
	if strings.HasPrefix(begin, " ") && !strings.Contains(begin, "GET") {
		return raw(t, begin)
	}
	return []byte(begin)
}

func TestClassify(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := bytesOf(t, c.begin)
			if got := Classify(b); got != c.want {
				t.Errorf("%q: got %s, want %s", b, got, c.want)
			}
		})
	}
}

// settles checks that a verdict stays as more bytes come and that MaxBytes decide.
func settles(t interface {
	Helper()
	Fatalf(string, ...any)
}, b []byte) {
	t.Helper()
	verdict := NeedMore
	for n := range len(b) + 1 {
		got := Classify(b[:n])
		if verdict != NeedMore && got != verdict {
			t.Fatalf("%q is %s, and with %q it is %s", b[:n-1], verdict, b[n-1:n], got)
		}
		if got == NeedMore && n >= MaxBytes {
			t.Fatalf("%d bytes of %q do not decide", n, b)
		}
		verdict = got
	}
	if got := Classify(append(bytes.Clone(b), "more"...)); verdict != NeedMore && got != verdict {
		t.Fatalf("%q is %s, and with more it is %s", b, verdict, got)
	}
}

func TestSettles(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { settles(t, bytesOf(t, c.begin)) })
	}
	likely := rapid.SampledFrom([]byte{0, 1, 2, 3, 4, 5, 0x0f, 0x10, 0x16, 0x21, 0x80, 0x81, 0x82, 0xff, ' ', '"', ',', '1', '[', 'A', 'a', 'P', 'R', 'I', '*', '\r', '\n'})
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(rapid.SampledFrom([]string{"", preface, "GET /a HTTP/1.1", "\x00\x00\x00\x14", "\x00\x00\x00\x14\x80\x01\x00\x01", "[1,\""}).Draw(t, "begin"))
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "of it")]
		b = append(b, rapid.SliceOfN(rapid.OneOf(likely, rapid.Byte()), 0, 40).Draw(t, "then")...)
		settles(t, b)
	})
}

func TestVerdicts(t *testing.T) {
	seen := map[string]bool{}
	for v := NeedMore; v <= ThriftTTHeader; v++ {
		if s := v.String(); seen[s] || s == "no verdict" {
			t.Errorf("verdict %d is called %q", v, s)
		}
		seen[v.String()] = true
		if v.Thrift() != strings.HasPrefix(v.String(), "Thrift") {
			t.Errorf("%s: Thrift() = %v", v, v.Thrift())
		}
	}
	if s := Verdict(99).String(); s != "no verdict" {
		t.Errorf("verdict 99 is called %q", s)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]bool{"": false, "Host: a\r\n\t~": true, "a\x00": false, "a\x7f": false, "ä": false} {
		if got := Printable([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, c := range cases {
		f.Add(bytesOf(f, c.begin))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		settles(t, b)
		// A verdict is a promise about the first byte.
		switch v := Classify(b); {
		case v == TLS && b[0] != 0x16,
			(v == HTTP1 || v == HTTP2) && !IsToken(b[0]),
			v.Thrift() && (IsToken(b[0]) || b[0] == 0x16),
			v == HTTP1 && bytes.HasPrefix(b, []byte(preface)):
			t.Fatalf("%q is %s", b, v)
		}
	})
}
