// SPDX-License-Identifier: Apache-2.0

package transcode

import (
	"errors"
	"io"
	"os"
	"testing"

	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/wire/thrift/message"
)

// caller answers with what it has.
type caller struct {
	result string
	sent   bool
	err    error
	got    []byte
}

func (c *caller) Call(call []byte, seq int32, oneway bool) ([]byte, bool, error) {
	c.got = call
	if c.err != nil || oneway {
		return nil, c.sent, c.err
	}
	h, err := message.ParseHead(message.Binary, call)
	if err != nil {
		return nil, false, err
	}
	return message.AppendReply(nil, message.Binary, message.Reply, h.Name, seq, []byte(c.result)), true, nil
}

func TestAnswer(t *testing.T) {
	table := shop(t)
	for name, test := range map[string]struct {
		method, path, body string
		caller
		status  int
		outcome exchange.Outcome
		allow   string
	}{
		"a result":        {method: "POST", path: "/check", body: `{"number":1}`, caller: caller{result: "\x02\x00\x00\x01\x00"}, status: 200, outcome: exchange.Replied},
		"oneway":          {method: "DELETE", path: "/users/7", caller: caller{sent: true}, status: 202, outcome: exchange.Replied},
		"no route":        {method: "GET", path: "/nowhere", status: 404, outcome: exchange.NotSent},
		"another method":  {method: "PATCH", path: "/check", status: 405, outcome: exchange.NotSent, allow: "POST"},
		"a bad request":   {method: "POST", path: "/check", body: "x", status: 400, outcome: exchange.NotSent},
		"unreachable":     {method: "DELETE", path: "/all", caller: caller{err: io.EOF}, status: 503, outcome: exchange.NotSent},
		"no answer":       {method: "DELETE", path: "/all", caller: caller{err: os.ErrDeadlineExceeded, sent: true}, status: 504, outcome: exchange.SentNoReply},
		"an end":          {method: "DELETE", path: "/all", caller: caller{err: io.ErrUnexpectedEOF, sent: true}, status: 502, outcome: exchange.SentNoReply},
		"a reply of junk": {method: "POST", path: "/check", body: `{"number":1}`, caller: caller{result: "\x02"}, status: 502, outcome: exchange.Replied},
	} {
		t.Run(name, func(t *testing.T) {
			x := &exchange.Exchange{Method: []byte(test.method), Path: []byte(test.path), Body: []byte(test.body), Request: fields{}}
			c := test.caller
			got, outcome, err := table.Answer(x, &c)
			status := 0
			var r *Refusal
			switch {
			case errors.As(err, &r):
				status = r.Status
			case err == nil:
				status = got.Status
			}
			if status != test.status || outcome != test.outcome {
				t.Errorf("status %d with outcome %v (%v), want %d with %v", status, outcome, err, test.status, test.outcome)
			}
			if outcome == exchange.NotSent && c.err == nil && c.got != nil {
				t.Error("it was sent")
			}
			allow := ""
			x.Fields(func(name string, value []byte) bool {
				if name == "Allow" {
					allow = string(value)
				}
				return true
			})
			if allow != test.allow {
				t.Errorf("Allow: %s, want %s", allow, test.allow)
			}
		})
	}
}
