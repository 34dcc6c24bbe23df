// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/exchange"
)

type headers [][2]string

func (h headers) Header(name string) (value []byte, count int) {
	for _, f := range h {
		if f[0] == name {
			if count == 0 {
				value = []byte(f[1])
			}
			count++
		}
	}
	return value, count
}

func request(h headers) *exchange.Exchange {
	return &exchange.Exchange{
		Start: time.Date(2026, 11, 24, 12, 30, 5, 7_900_000, time.FixedZone("", 3600)), Port: 8080, Protocol: "HTTP/1.1",
		Method: []byte("POST"), RawPath: []byte("/v1/payments"), Query: []byte("token=s3cret"), Request: h,
		Peer: netip.MustParseAddr("10.0.0.9"), Client: netip.MustParseAddr("2001:db8::1"),
	}
}

func answered(status int) *exchange.Record {
	return &exchange.Record{
		Status: status, GRPCStatus: -1, Outcome: exchange.Replied, RequestBytes: 12, ResponseBytes: 345,
		Duration: 12345678 * time.Nanosecond, Upstream: 11 * time.Millisecond,
	}
}

func TestEntries(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, tc := range map[string]struct {
		make func() (*exchange.Exchange, *exchange.Record)
		want string
	}{
		"answered": {
			func() (*exchange.Exchange, *exchange.Record) {
				return request(headers{{"host", "pay.shop"}, {"user-agent", "curl/8.5.0"}, {"authorization", "Bearer s3cret"}, {"traceparent", parent}}), answered(201)
			},
			`{"log":"access","time":"2026-11-24T11:30:05.007Z","method":"POST","path":"/v1/payments","protocol":"HTTP/1.1","status":201,` +
				`"duration_ms":12.345,"upstream_ms":11,"request_bytes":12,"response_bytes":345,"client":"2001:db8::1","peer":"10.0.0.9","port":8080,` +
				`"host":"pay.shop","user_agent":"curl/8.5.0","outcome":"replied","trace_id":"0af7651916cd43dd8448eb211c80319c"}`,
		},
		"denied": {
			func() (*exchange.Exchange, *exchange.Record) {
				x, r := request(nil), answered(429)
				x.Trace.TraceID = [16]byte{15: 0xab}
				x.Deny(exchange.Denial{Status: 429, Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Policy: "shop/payments", Limits: []string{"per-client", "all"}})
				r.Outcome, r.Upstream, r.RequestBytes = exchange.NotSent, 0, 0
				return x, r
			},
			`{"log":"access","time":"2026-11-24T11:30:05.007Z","method":"POST","path":"/v1/payments","protocol":"HTTP/1.1","status":429,` +
				`"duration_ms":12.345,"request_bytes":0,"response_bytes":345,"client":"2001:db8::1","peer":"10.0.0.9","port":8080,` +
				`"outcome":"not_sent","problem":"quota-exceeded","denied_by":"shop/payments","limits":["per-client","all"],"trace_id":"000000000000000000000000000000ab"}`,
		},
		"gRPC": {
			func() (*exchange.Exchange, *exchange.Record) {
				x, r := request(nil), answered(200)
				x.GRPC, x.Protocol, r.GRPCStatus, x.RawPath = true, "HTTP/2", 0, []byte("/shop.Payments/Pay")
				return x, r
			},
			`{"log":"access","time":"2026-11-24T11:30:05.007Z","method":"POST","path":"/shop.Payments/Pay","protocol":"HTTP/2","status":200,"grpc_status":0,` +
				`"duration_ms":12.345,"upstream_ms":11,"request_bytes":12,"response_bytes":345,"client":"2001:db8::1","peer":"10.0.0.9","port":8080,` +
				`"outcome":"replied"}`,
		},
		"broken": {
			func() (*exchange.Exchange, *exchange.Record) {
				x, r := request(nil), answered(0)
				x.Client, x.Peer = netip.Addr{}, netip.MustParseAddr("fe80::1%eth0")
				r.Outcome, r.Aborted, r.Upstream = exchange.SentNoReply, "the client has gone", 0
				return x, r
			},
			`{"log":"access","time":"2026-11-24T11:30:05.007Z","method":"POST","path":"/v1/payments","protocol":"HTTP/1.1","status":0,` +
				`"duration_ms":12.345,"request_bytes":12,"response_bytes":345,"peer":"fe80::1","port":8080,` +
				`"outcome":"sent_no_reply","aborted":"the client has gone"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x, r := tc.make()
			if d := cmp.Diff(tc.want+"\n", string(appendEntry(nil, x, r))); d != "" {
				t.Errorf("line (-want +got):\n%s", d)
			}
		})
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 999: "0", -time.Second: "0", time.Microsecond: "0.001", 10 * time.Microsecond: "0.01", 100 * time.Microsecond: "0.1",
		time.Millisecond: "1", 1500 * time.Microsecond: "1.5", time.Hour + 90*time.Microsecond: "3600000.09", 10 * time.Second: "10000",
	} {
		if got := string(appendMilliseconds(nil, "x", d)); got != `,"x":`+want {
			t.Errorf("%s is %s, want %s", d, got, want)
		}
	}
}

// hostile draws bytes that clients might try.
func hostile(t *rapid.T, label string) string {
	part := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"\"", "\\", "\n", "\r\n", "\x00", "\x1b[2J", "\x7f", "\xff", "\xed\xa0\x80", "\u2028", "\u202e", "é", "😀", strings.Repeat("é", 600)}),
	)
	return strings.Join(rapid.SliceOfN(part, 0, 6).Draw(t, label), "")
}

// Whatever comes, a line is one object of JSON, bounded, without anything that
// ends a line or moves a terminal.
func TestEveryLineCanBeRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		method, path, host, agent := hostile(t, "method"), hostile(t, "path"), hostile(t, "host"), hostile(t, "agent")
		check(t.Fatalf, method, path, host, agent)
	})
}

func FuzzEntry(f *testing.F) {
	f.Add("GET", "/\xff\"", "a\nb", "\u2028")
	f.Fuzz(func(t *testing.T, method, path, host, agent string) { check(t.Fatalf, method, path, host, agent) })
}

func check(fatal func(string, ...any), method, path, host, agent string) {
	x := request(headers{{"host", host}, {"user-agent", agent}})
	x.Method, x.RawPath = []byte(method), []byte(path)
	line := appendEntry(nil, x, answered(200))
	if !bytes.HasSuffix(line, []byte("}\n")) || !utf8.Valid(line) {
		fatal("line %q", line)
	}
	for _, r := range string(line[:len(line)-1]) {
		if r < ' ' || r >= 0x7f && r <= 0x9f || escaped(r) {
			fatal("%U is in the line %q", r, line)
		}
	}
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		fatal("%v in %q", err, line)
	}
	for key, in := range map[string]struct {
		value string
		most  int
	}{"method": {method, maxMethod}, "path": {path, maxPath}, "host": {host, maxHost}, "user_agent": {agent, maxUserAgent}} {
		want := strings.ToValidUTF8(in.value[:min(len(in.value), in.most)], "")
		text, ok := got[key].(string)
		if !ok || !strings.HasPrefix(strings.ReplaceAll(text, "\uFFFD", ""), strings.ReplaceAll(strings.TrimRight(want, "\uFFFD"), "\uFFFD", "")) && utf8.ValidString(in.value) {
			fatal("%s of %q is %q", key, in.value, text)
		}
		if len(in.value) <= in.most && utf8.ValidString(in.value) && text != in.value {
			fatal("%s of %q is %q", key, in.value, text)
		}
		if utf8.RuneCountInString(text) > in.most {
			fatal("%s has %d characters", key, utf8.RuneCountInString(text))
		}
	}
}
