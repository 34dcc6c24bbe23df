// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"encoding/binary"
	"fmt"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/exchange"
	"weir.dev/weir/sidecar/filter/idempotency/content"
	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/key"
	"weir.dev/weir/sidecar/nskey"
)

// Kinds of values in a name, beside those of package key.
const (
	kindKey      key.Kind = 'K'
	kindDerived  key.Kind = 'D'
	kindHeader   key.Kind = 'H'
	kindScalar   key.Kind = 'S'
	kindTree     key.Kind = 'T'
	kindDelivery key.Kind = 'W'
	kindPolicy   key.Kind = 'P'
)

// What a keyed hash is of, so that none is mistaken for another.
const (
	ofRecord      = 'I'
	ofShadow      = 'J'
	ofFingerprint = 'F'
	ofCredentials = 'C'
)

// deliveryKey is the field that has the key of a delivery.
const deliveryKey = "idempotency-key"

type keyState uint8

const (
	keyFound keyState = iota
	keyMissing
	keyInvalid
	// keyLater: the body has to be read.
	keyLater
)

// findScope begins the name with whose key it is.
func (f *Filter) findScope(x *exchange.Exchange, s *scratch) (keyState, string) {
	s.name = key.AppendValue(s.name[:0], kindPolicy, []byte(f.policy))
	if x.Delivery != nil {
		s.name = key.AppendValue(s.name, kindDelivery, nil)
		s.scoped = len(s.name)
		return keyFound, ""
	}
	for i := range f.scope {
		n := len(s.name)
		var doubtful bool
		s.name, doubtful = f.scope[i].Append(s.name, x, s.rule, &s.params)
		switch {
		case doubtful:
			return keyInvalid, fmt.Sprintf("Whose idempotency key it is cannot be told: send %s once.", &f.scope[i])
		case len(s.name) == n:
			return keyMissing, fmt.Sprintf("This request needs %s, which says whose idempotency key it is.", &f.scope[i])
		}
	}
	s.scoped = len(s.name)
	return keyFound, ""
}

// findKey ends the name with the key; read: x.Body is there.
func (f *Filter) findKey(x *exchange.Exchange, s *scratch, read bool) (keyState, string) {
	s.name, s.derived = s.name[:s.scoped], false
	if x.Delivery != nil {
		return f.fromHeader(x, s, deliveryKey)
	}
	for i := range f.sources {
		src := &f.sources[i]
		if src.header != "" {
			if state, why := f.fromHeader(x, s, src.header); state != keyMissing {
				return state, why
			}
			continue
		}
		if !read {
			return keyLater, ""
		}
		if state, why := f.fromBody(x, s, src); state != keyMissing {
			return state, why
		}
	}
	if f.missing != snapshot.OnMissingIdempotencyKey_ON_MISSING_IDEMPOTENCY_KEY_DERIVE {
		return keyMissing, f.needs()
	}
	return f.deriveKey(x, s, read)
}

func (f *Filter) needs() string {
	var names []string
	for i := range f.sources {
		names = append(names, f.sources[i].String())
	}
	return fmt.Sprintf("This request needs an idempotency key: %s.", strings.Join(names, ", or "))
}

func (f *Filter) fromHeader(x *exchange.Exchange, s *scratch, name string) (keyState, string) {
	field, count := x.Request.Header(name)
	switch {
	case count > 1:
		return keyInvalid, fmt.Sprintf("The header %s is sent %d times; send it once.", name, count)
	case len(field) == 0:
		return keyMissing, ""
	}
	var err error
	if s.buf, err = content.HeaderKey(s.buf[:0], field); err != nil {
		return keyInvalid, fmt.Sprintf("The header %s is %s.", name, err)
	}
	return f.take(s)
}

func (f *Filter) fromBody(x *exchange.Exchange, s *scratch, src *source) (keyState, string) {
	var found content.Found
	switch s.buf, found = s.canon.Find(s.buf[:0], x.Body, src.pointer); found {
	case content.Missing:
		return keyMissing, ""
	case content.Scalar:
		return f.take(s)
	default:
		return keyInvalid, fmt.Sprintf("The body has an array, an object or more than one value at %q, where the idempotency key should be.", src.text)
	}
}

// take makes s.buf the key.
func (f *Filter) take(s *scratch) (keyState, string) {
	if len(s.buf) > f.maxKey {
		return keyInvalid, fmt.Sprintf("The idempotency key has %d bytes, at most %d are possible.", len(s.buf), f.maxKey)
	}
	s.name = key.AppendValue(s.name, kindKey, s.buf)
	return keyFound, ""
}

// deriveKey makes the key of all the places that the policy names. One that is not there
// makes it a missing key: what is left would be many requests' key.
func (f *Filter) deriveKey(x *exchange.Exchange, s *scratch, read bool) (keyState, string) {
	s.derived = true
	s.name = key.AppendValue(s.name, kindDerived, nil)
	for i := range f.derive {
		src := &f.derive[i]
		if src.header != "" {
			field, count := x.Request.Header(src.header)
			switch {
			case count > 1:
				return keyInvalid, fmt.Sprintf("The header %s is sent %d times; send it once.", src.header, count)
			case len(field) == 0:
				return keyMissing, ""
			}
			s.name = key.AppendValue(s.name, kindHeader, field)
			continue
		}
		if !read {
			return keyLater, ""
		}
		var found content.Found
		s.buf, found = s.canon.Find(s.buf[:0], x.Body, src.pointer)
		switch found {
		case content.Missing:
			return keyMissing, ""
		case content.Doubtful:
			return keyInvalid, fmt.Sprintf("The body has more than one value at %q, from which the idempotency key is derived.", src.text)
		case content.Container:
			s.name = key.AppendValue(s.name, kindTree, s.buf)
		default:
			s.name = key.AppendValue(s.name, kindScalar, s.buf)
		}
	}
	return keyFound, ""
}

func (f *Filter) id(k *nskey.Keys, s *scratch) record.ID {
	if f.shadow {
		return record.ID(s.records.mac(&k.Records, ofShadow, s.name))
	}
	return record.ID(s.records.mac(&k.Records, ofRecord, s.name))
}

// print puts into s.buf what two requests of one key have to have in common.
func (f *Filter) print(x *exchange.Exchange, s *scratch) {
	s.buf = s.buf[:0]
	for _, part := range []struct {
		in    bool
		tag   byte
		value []byte
	}{{f.method, 'm', x.Method}, {f.path, 'p', x.RawPath}, {f.query, 'q', x.Query}} {
		if part.in {
			s.buf = append(s.buf, part.tag)
			s.buf = binary.BigEndian.AppendUint32(s.buf, uint32(len(part.value)))
			s.buf = append(s.buf, part.value...)
		}
	}
	if f.body {
		kind, _ := x.Request.Header("content-type")
		coding, n := x.Request.Header("content-encoding")
		sum := s.canon.Digest(kind, n > 0 && !strings.EqualFold(string(coding), "identity"), x.Body, f.exclude)
		s.buf = append(append(s.buf, 'b'), sum[:]...)
	}
}

// credentials is of the field Authorization; zero where it is not compared.
func (f *Filter) credentials(x *exchange.Exchange, k *nskey.Keys, s *scratch) record.Digest {
	if f.claimed || x.Delivery != nil {
		return record.Digest{}
	}
	field, count := x.Request.Header("authorization")
	s.buf = append(binary.BigEndian.AppendUint32(s.buf[:0], uint32(count)), field...)
	return record.Digest(s.credentials.mac(&k.Credentials, ofCredentials, s.buf))
}
