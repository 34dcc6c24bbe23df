// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Bearer returns the token of an Authorization field (RFC 6750 section 2.1), nil when
// it has another scheme or none.
func Bearer(field []byte) []byte {
	const scheme = "bearer"
	if len(field) <= len(scheme) || field[len(scheme)] != ' ' || !bytes.EqualFold(field[:len(scheme)], []byte(scheme)) {
		return nil
	}
	token := bytes.Trim(field[len(scheme):], " \t")
	if len(token) == 0 || len(token) > MaxToken {
		return nil
	}
	return token
}

// Claim returns a claim of the token in an Authorization field, as text; nil when
// the token does not hold at that time, or has no such claim. The result must not be changed.
func (p *Provider) Claim(field []byte, claim string, now time.Time) []byte {
	token := Bearer(field)
	if token == nil || len(p.keys) == 0 {
		return nil
	}
	i, asked := slices.BinarySearch(p.claims, claim)
	if !asked {
		return nil
	}
	id := sha256.Sum256(token)
	v, ok := p.cache.get(&id)
	if !ok {
		if v, ok = p.verify(string(token)); !ok {
			return nil
		}
		p.cache.put(&id, v, now.Unix())
	}
	if !v.holds(now.Unix()) {
		return nil
	}
	return v.values[i]
}

// verified is a token of which only the times are left to be checked.
type verified struct {
	notBefore, expires int64 // Unix seconds, leeway included
	values             [][]byte
}

func (v *verified) holds(now int64) bool { return now >= v.notBefore && now < v.expires }

func (p *Provider) verify(token string) (*verified, bool) {
	payload, ok := p.open(token)
	if !ok {
		return nil, false
	}
	// This decoder takes names as they are written, and none twice.
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return nil, false
	}
	if iss, ok := text(claims["iss"]); !ok || iss != p.from.GetIssuer() || !p.audience(claims["aud"]) {
		return nil, false
	}
	v := &verified{values: make([][]byte, len(p.claims))}
	if v.expires, ok = seconds(claims["exp"]); !ok {
		return nil, false
	}
	v.expires += int64(Leeway.Seconds())
	if raw, there := claims["nbf"]; there {
		if v.notBefore, ok = seconds(raw); !ok {
			return nil, false
		}
		v.notBefore -= int64(Leeway.Seconds())
	}
	for i, name := range p.claims {
		v.values[i] = value(claims[name])
	}
	return v, true
}

// open checks the signature.
func (p *Provider) open(token string) ([]byte, bool) {
	var all []jose.SignatureAlgorithm
	for i := range p.keys {
		all = append(all, p.keys[i].algs...)
	}
	signed, err := jose.ParseSignedCompact(token, all)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, false
	}
	h := signed.Signatures[0].Protected
	// Nothing that a token may call critical is understood here.
	if h.ExtraHeaders["crit"] != nil || h.ExtraHeaders["b64"] != nil {
		return nil, false
	}
	for _, k := range p.candidates(h.KeyID, jose.SignatureAlgorithm(h.Algorithm)) {
		if payload, err := signed.Verify(k.public); err == nil {
			return payload, true
		}
	}
	return nil, false
}

// candidates are the keys that a token names. One that names none has to leave no
// choice: trying them all would make it as dear as it has keys.
func (p *Provider) candidates(kid string, alg jose.SignatureAlgorithm) []*key {
	var out []*key
	for i := range p.keys {
		if k := &p.keys[i]; (kid == "" || k.kid == kid) && slices.Contains(k.algs, alg) {
			out = append(out, k)
		}
	}
	if kid == "" && len(out) > 1 {
		return nil
	}
	return out
}

func (p *Provider) audience(raw json.RawMessage) bool {
	want := p.from.GetAudiences()
	if len(want) == 0 {
		return true
	}
	if one, ok := text(raw); ok {
		return slices.Contains(want, one)
	}
	var several []string
	return json.Unmarshal(raw, &several) == nil && slices.ContainsFunc(several, func(s string) bool { return slices.Contains(want, s) })
}

func text(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// seconds reads a NumericDate, which may have a fraction.
func seconds(raw json.RawMessage) (int64, bool) {
	var f float64
	if !number(raw) || json.Unmarshal(raw, &f) != nil || !(math.Abs(f) < 1<<52) {
		return 0, false
	}
	return int64(math.Floor(f)), true
}

func number(raw json.RawMessage) bool {
	return len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9')
}
