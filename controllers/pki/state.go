// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// Keys of the Secret.
const (
	keyCert     = "tls.crt"
	keyKey      = "tls.key"
	keyNextCert = "next.crt"
	keyNextKey  = "next.key"
	keyBundle   = "ca.crt"
)

// state is what the Secret holds.
type state struct {
	current *authority
	next    *authority          // published, does not sign yet
	old     []*x509.Certificate // sign no more, but what they signed may be in use
}

// advance returns the state as it has to be at now, and whether that is another
// one than s; the zero state gets its first CA.
func (s state) advance(now time.Time) (state, bool, error) {
	out, changed := s, false
	create := func() (*authority, error) {
		changed = true
		return newAuthority(now)
	}
	var err error
	switch {
	case s.current == nil || !now.Before(s.current.cert.NotAfter):
		// Nothing valid can come of the old one; a next one may be there.
		if out.current = s.next; out.current == nil || !now.Before(out.current.cert.NotAfter) {
			if out.current, err = create(); err != nil {
				return s, false, err
			}
		}
		out.next, changed = nil, true
	case s.next == nil && !now.Before(renewAt(s.current.cert)):
		if out.next, err = create(); err != nil {
			return s, false, err
		}
	case s.next != nil && !now.Before(s.next.cert.NotBefore.Add(skew+Overlap)):
		out.old = append(slices.Clone(s.old), s.current.cert)
		out.current, out.next, changed = s.next, nil, true
	}
	kept := slices.DeleteFunc(slices.Clone(out.old), func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
	if len(kept) != len(out.old) {
		out.old, changed = kept, true
	}
	return out, changed, nil
}

// bundle is what verifiers trust.
func (s state) bundle() []byte {
	var b bytes.Buffer
	b.Write(encodeCert(s.current.cert))
	if s.next != nil {
		b.Write(encodeCert(s.next.cert))
	}
	for _, c := range s.old {
		b.Write(encodeCert(c))
	}
	return b.Bytes()
}

func (s state) encode() (map[string][]byte, error) {
	key, err := s.current.encodeKey()
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{keyCert: encodeCert(s.current.cert), keyKey: key, keyBundle: s.bundle()}
	if s.next != nil {
		if data[keyNextKey], err = s.next.encodeKey(); err != nil {
			return nil, err
		}
		data[keyNextCert] = encodeCert(s.next.cert)
	}
	return data, nil
}

func decodeState(data map[string][]byte) (state, error) {
	var s state
	var err error
	if s.current, err = decodeAuthority(data[keyCert], data[keyKey]); err != nil {
		return state{}, fmt.Errorf("%s and %s: %w", keyCert, keyKey, err)
	}
	if len(data[keyNextCert]) > 0 {
		if s.next, err = decodeAuthority(data[keyNextCert], data[keyNextKey]); err != nil {
			return state{}, fmt.Errorf("%s and %s: %w", keyNextCert, keyNextKey, err)
		}
	}
	certs, err := decodeCerts(data[keyBundle])
	if err != nil {
		return state{}, fmt.Errorf("%s: %w", keyBundle, err)
	}
	for _, c := range certs {
		if !c.Equal(s.current.cert) && (s.next == nil || !c.Equal(s.next.cert)) {
			s.old = append(s.old, c)
		}
	}
	return s, nil
}
