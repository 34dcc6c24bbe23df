// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir.dev/weir/sidecar/exchange"
)

func sample() *Record {
	return &Record{
		State: Complete, Flags: Sealed | AtLeastOnce, Attempt: 3, Fence: 1 << 50, Origin: 1<<50 - 7,
		Owner: Owner{1, 15: 2}, Fingerprint: Digest{3, 15: 4}, Credentials: Digest{5, 15: 6},
		Lease: 30 * time.Second, Retention: 24 * time.Hour, Stamp: 1<<50 + 9, Status: 201, Payload: []byte("payload"),
	}
}

func sampleReply() *exchange.Reply {
	return &exchange.Reply{
		Status:  201,
		Header:  []exchange.Field{{Name: []byte("Location"), Value: []byte("/p/1")}, {Name: []byte("X-Empty")}},
		Trailer: []exchange.Field{{Name: []byte("grpc-status"), Value: []byte("0")}},
		Body:    []byte("{}"),
	}
}

// The formats are kept in stores, and read by sidecars of other versions.
const (
	goldenRecord = "014303000000000300040000000000000003fffffffffff9" +
		"01000000000000000000000000000002" + "03000000000000000000000000000004" + "05000000000000000000000000000006" +
		"00007530" + "0000000005265c00" + "0004000000000009" + "00c9" + "0000" + "7061796c6f6164"
	goldenReply = "00c9" + "02" + "0804" + "4c6f636174696f6e" + "2f702f31" + "0700" + "582d456d707479" +
		"01" + "0b01" + "677270632d737461747573" + "30" + "7b7d"
)

func TestGolden(t *testing.T) {
	if got := hex.EncodeToString(sample().Append(nil)); got != goldenRecord {
		t.Errorf("record\n got %s\nwant %s", got, goldenRecord)
	}
	if got := hex.EncodeToString(AppendReply(nil, sampleReply())); got != goldenReply {
		t.Errorf("reply\n got %s\nwant %s", got, goldenReply)
	}
	var r Record
	if err := r.Decode(sample().Append(nil)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), &r); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	reply, err := DecodeReply(AppendReply(nil, sampleReply()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sampleReply(), reply, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

func TestMalformed(t *testing.T) {
	edit := func(at int, b byte) []byte {
		raw := sample().Append(nil)
		raw[at] = b
		return raw
	}
	for name, raw := range map[string][]byte{
		"nothing":           nil,
		"short":             sample().Append(nil)[:HeaderLen-1],
		"another version":   edit(0, Version+1),
		"no state":          edit(1, 'X'),
		"flags to come":     edit(3, 1),
		"endless retention": edit(76, 0xff),
		"too long":          make([]byte, HeaderLen+MaxPayload+1),
	} {
		if err := new(Record).Decode(raw); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, raw := range map[string]string{
		"nothing":             "",
		"no sections":         "\x00\xc9",
		"one section":         "\x00\xc9\x00",
		"more fields than it": "\x00\xc9\x7f\x00\x00",
		"a long name":         "\x00\xc9\x01\x09\x00abc\x00",
		"a long value":        "\x00\xc9\x01\x01\x09abc\x00",
		"a huge length":       "\x00\xc9\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00",
	} {
		if r, err := DecodeReply([]byte(raw)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add(sample().Append(nil))
	f.Add([]byte(strings.Repeat("I", HeaderLen)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r Record
		if r.Decode(raw) == nil && !bytes.Equal(r.Append(nil), raw) {
			t.Errorf("%x is read as %+v", raw, r)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add(AppendReply(nil, sampleReply()))
	f.Add([]byte("\x00\xc9\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := DecodeReply(raw)
		if err != nil {
			return
		}
		b := AppendReply(nil, r)
		if len(b) > ReplyLen(r) {
			t.Errorf("%d bytes, at most %d", len(b), ReplyLen(r))
		}
		again, err := DecodeReply(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, again, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("written and read (-want +got):\n%s", diff)
		}
	})
}

func TestDecide(t *testing.T) {
	who := Asker{Owner: Owner{1}, Fingerprint: Digest{1}, Credentials: Digest{2}}
	for name, test := range map[string]struct {
		edit func(*Record, *Asker)
		age  time.Duration
		want Verdict
	}{
		"complete":                         {func(r *Record, _ *Asker) { r.State = Complete }, 0, Replay},
		"tombstone":                        {func(r *Record, _ *Asker) { r.State = Tombstone }, 0, NotRetained},
		"unknown":                          {func(r *Record, _ *Asker) { r.State = Unknown }, 0, OutcomeUnknown},
		"released":                         {func(r *Record, _ *Asker) { r.State = Released }, 0, TakeOver},
		"released by others":               {func(r *Record, _ *Asker) { r.State, r.Credentials, r.Fingerprint = Released, Digest{}, Digest{} }, 0, TakeOver},
		"alive":                            {func(*Record, *Asker) {}, time.Second - 1, Wait},
		"of unknown age":                   {func(*Record, *Asker) {}, -1, NeedAge},
		"abandoned":                        {func(*Record, *Asker) {}, time.Second, GiveUp},
		"abandoned, at least once":         {func(r *Record, a *Asker) { r.Flags, a.AtLeastOnce = AtLeastOnce, true }, time.Second, TakeOver},
		"abandoned, begun at most once":    {func(_ *Record, a *Asker) { a.AtLeastOnce = true }, time.Second, GiveUp},
		"abandoned, asked at most once":    {func(r *Record, _ *Asker) { r.Flags = AtLeastOnce }, time.Second, GiveUp},
		"mine":                             {func(r *Record, _ *Asker) { r.Owner = Owner{1} }, -1, Mine},
		"other request":                    {func(r *Record, _ *Asker) { r.Fingerprint = Digest{} }, 0, Mismatch},
		"other request, not cared for":     {func(r *Record, a *Asker) { r.Fingerprint, a.AnyRequest = Digest{}, true }, 0, Wait},
		"other credentials":                {func(r *Record, _ *Asker) { r.Credentials = Digest{} }, 0, CredentialsDiffer},
		"other credentials, not compared":  {func(_ *Record, a *Asker) { a.Credentials = Digest{} }, 0, Wait},
		"other credentials, other request": {func(r *Record, _ *Asker) { r.Credentials, r.Fingerprint = Digest{}, Digest{} }, 0, CredentialsDiffer},
	} {
		r := &Record{State: Inflight, Owner: Owner{9}, Fingerprint: Digest{1}, Credentials: Digest{2}, Lease: time.Second}
		a := who
		test.edit(r, &a)
		if got := r.Decide(test.age, &a); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
