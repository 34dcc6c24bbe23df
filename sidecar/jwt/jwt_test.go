// SPDX-License-Identifier: Apache-2.0

package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/sidecar/jwt"
)

const issuer = "https://idp.example"

var now = time.Unix(1_800_000_000, 0)

// signers are made once: RSA keys are slow to make.
type signers struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newSigners(t testing.TB) signers {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signers{r, e, ed}
}

func der(t testing.TB, k crypto.PublicKey) []byte {
	t.Helper()
	b, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s signers) provider(t testing.TB, claims ...string) *jwt.Provider {
	t.Helper()
	p, err := jwt.New(s.message(t), claims)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (s signers) message(t testing.TB) *snapshot.JWTProvider {
	return &snapshot.JWTProvider{Name: "idp", Issuer: issuer, Audiences: []string{"pay", "shop"}, Keys: []*snapshot.JWTKey{
		{Kid: "ec", Der: der(t, s.ec.Public())}, {Kid: "ed", Der: der(t, s.ed.Public())},
		{Kid: "ps", Alg: "PS256", Der: der(t, s.rsa.Public())}, {Kid: "rs", Alg: "RS256", Der: der(t, s.rsa.Public())},
	}}
}

// sign makes the value of an Authorization field. extra are headers.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, claims any, extra map[jose.HeaderKey]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: extra})
	if kid != "" {
		signer, err = jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, &jose.SignerOptions{ExtraHeaders: extra})
	}
	if err != nil {
		t.Fatal(err)
	}
	payload, ok := claims.(string)
	if !ok {
		b, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		payload = string(b)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return "Bearer " + token
}

func claims(more map[string]any) map[string]any {
	out := map[string]any{"iss": issuer, "aud": "shop", "exp": now.Unix() + 600, "sub": "alice"}
	maps.Copy(out, more)
	return out
}

func TestClaim(t *testing.T) {
	s := newSigners(t)
	other := newSigners(t)
	at := now.Unix()
	std := func(more map[string]any) string { return sign(t, jose.ES256, s.ec, "ec", claims(more), nil) }
	good := std(nil)
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der(t, s.rsa.Public())})
	parts := strings.Split(strings.TrimPrefix(good, "Bearer "), ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"ec"}`))
	for name, tc := range map[string]struct {
		field, claim, want string
	}{
		"ES256":                    {good, "sub", "alice"},
		"EdDSA":                    {sign(t, jose.EdDSA, s.ed, "ed", claims(nil), nil), "sub", "alice"},
		"RS256":                    {sign(t, jose.RS256, s.rsa, "rs", claims(nil), nil), "sub", "alice"},
		"PS256":                    {sign(t, jose.PS256, s.rsa, "ps", claims(nil), nil), "sub", "alice"},
		"no kid, one key possible": {sign(t, jose.ES256, s.ec, "", claims(nil), nil), "sub", "alice"},
		"scheme in other letters":  {"bEARER  " + strings.TrimPrefix(good, "Bearer ") + " ", "sub", "alice"},
		"several audiences":        {std(map[string]any{"aud": []string{"x", "pay"}}), "sub", "alice"},
		"expired within leeway":    {std(map[string]any{"exp": at - 59}), "sub", "alice"},
		"early within leeway":      {std(map[string]any{"nbf": at + 60}), "sub", "alice"},
		"number":                   {std(map[string]any{"tenant": 100}), "tenant", "100"},
		"number otherwise":         {sign(t, jose.ES256, s.ec, "ec", `{"iss":"https://idp.example","aud":"shop","exp":1900000000,"tenant":1e2}`, nil), "tenant", "100"},
		"large number":             {sign(t, jose.ES256, s.ec, "ec", `{"iss":"https://idp.example","aud":"shop","exp":1900000000,"tenant":12345678901234567890}`, nil), "tenant", "12345678901234567890"},
		"bool":                     {std(map[string]any{"tenant": true}), "tenant", "true"},

		"no field":              {"", "sub", ""},
		"another scheme":        {"Basic " + strings.TrimPrefix(good, "Bearer "), "sub", ""},
		"no space":              {"Bearer" + strings.TrimPrefix(good, "Bearer "), "sub", ""},
		"no token":              {"Bearer ", "sub", ""},
		"a claim not asked for": {good, "iss", ""},
		"no such claim":         {good, "tenant", ""},
		"empty":                 {std(map[string]any{"sub": ""}), "sub", ""},
		"null":                  {std(map[string]any{"sub": nil}), "sub", ""},
		"a list":                {std(map[string]any{"sub": []string{"a"}}), "sub", ""},
		"an object":             {std(map[string]any{"sub": map[string]string{"a": "b"}}), "sub", ""},
		"a long value":          {std(map[string]any{"sub": strings.Repeat("a", jwt.MaxClaim+1)}), "sub", ""},
		"too large":             {std(map[string]any{"x": strings.Repeat("a", jwt.MaxToken)}), "sub", ""},

		"another issuer":        {std(map[string]any{"iss": issuer + "/"}), "sub", ""},
		"no issuer":             {std(map[string]any{"iss": nil}), "sub", ""},
		"another audience":      {std(map[string]any{"aud": "x"}), "sub", ""},
		"no audience":           {std(map[string]any{"aud": nil}), "sub", ""},
		"expired":               {std(map[string]any{"exp": at - 60}), "sub", ""},
		"no expiry":             {std(map[string]any{"exp": nil}), "sub", ""},
		"expiry in words":       {std(map[string]any{"exp": "1900000000"}), "sub", ""},
		"early":                 {std(map[string]any{"nbf": at + 61}), "sub", ""},
		"nbf in words":          {std(map[string]any{"nbf": "0"}), "sub", ""},
		"a name twice":          {sign(t, jose.ES256, s.ec, "ec", `{"iss":"https://idp.example","aud":"shop","exp":1900000000,"sub":"a","sub":"b"}`, nil), "sub", ""},
		"a name in other case":  {sign(t, jose.ES256, s.ec, "ec", `{"ISS":"https://idp.example","aud":"shop","exp":1900000000,"sub":"a"}`, nil), "sub", ""},
		"no JSON":               {sign(t, jose.ES256, s.ec, "ec", `x`, nil), "sub", ""},
		"another's key":         {sign(t, jose.ES256, other.ec, "ec", claims(nil), nil), "sub", ""},
		"an unknown kid":        {sign(t, jose.ES256, s.ec, "x", claims(nil), nil), "sub", ""},
		"another key's kid":     {sign(t, jose.ES256, s.ec, "ed", claims(nil), nil), "sub", ""},
		"not the key's alg":     {sign(t, jose.RS512, s.rsa, "rs", claims(nil), nil), "sub", ""},
		"RS where PS is meant":  {sign(t, jose.RS256, s.rsa, "ps", claims(nil), nil), "sub", ""},
		"HS256 by a public key": {sign(t, jose.HS256, public, "rs", claims(nil), nil), "sub", ""},
		"HS256 by its DER":      {sign(t, jose.HS256, der(t, s.rsa.Public()), "rs", claims(nil), nil), "sub", ""},
		"none":                  {"Bearer " + none + "." + parts[1] + ".", "sub", ""},
		"none, signed":          {"Bearer " + none + "." + parts[1] + "." + parts[2], "sub", ""},
		"no signature":          {"Bearer " + parts[0] + "." + parts[1] + ".", "sub", ""},
		"changed":               {"Bearer " + parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"b"}`)) + "." + parts[2], "sub", ""},
		"four parts":            {good + ".x", "sub", ""},
		"critical":              {sign(t, jose.ES256, s.ec, "ec", claims(nil), map[jose.HeaderKey]any{"crit": []string{"b64"}, "b64": true}), "sub", ""},
		"its own key":           {sign(t, jose.ES256, other.ec, "ec", claims(nil), map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: other.ec.Public()}}), "sub", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.provider(t, "tenant", "sub", "sub")
			for range 2 { // verified, then remembered
				if got := string(p.Claim([]byte(tc.field), tc.claim, now)); got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}

// TestRemembered: what is remembered ends with the token, costs no allocation, and a
// full memory verifies on.
func TestRemembered(t *testing.T) {
	s := newSigners(t)
	p := s.provider(t, "sub")
	field := []byte(sign(t, jose.ES256, s.ec, "ec", claims(map[string]any{"nbf": now.Unix()}), nil))
	if p.Claim(field, "sub", now) == nil {
		t.Fatal("the token does not hold")
	}
	if n := testing.AllocsPerRun(100, func() { p.Claim(field, "sub", now) }); n != 0 {
		t.Errorf("a remembered token costs %v allocations", n)
	}
	for name, at := range map[string]time.Time{"after": now.Add(660 * time.Second), "before": now.Add(-61 * time.Second)} {
		if p.Claim(field, "sub", at) != nil {
			t.Errorf("the token holds %s its time", name)
		}
	}
	for i := range 5000 {
		f := []byte(sign(t, jose.ES256, s.ec, "ec", claims(map[string]any{"n": i}), nil))
		if p.Claim(f, "sub", now) == nil {
			t.Fatalf("token %d does not hold", i)
		}
	}
}

func TestServes(t *testing.T) {
	s := newSigners(t)
	p := s.provider(t, "a", "b")
	m := s.message(t)
	if !p.Serves(m, []string{"b", "a", "a"}) || p.Serves(m, []string{"a"}) {
		t.Error("claims")
	}
	m.Keys = m.Keys[1:]
	if p.Serves(m, []string{"a", "b"}) || !p.SameIssuer(m) {
		t.Error("keys")
	}
	m.Audiences = nil
	if p.SameIssuer(m) {
		t.Error("audiences")
	}
}

func TestRefusedKeys(t *testing.T) {
	s := newSigners(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*snapshot.JWTKey{
		"no key": {Der: []byte("x")}, "a weak key": {Der: der(t, weak.Public())},
		"HS": {Alg: "HS256", Der: der(t, s.rsa.Public())}, "another type's algorithm": {Alg: "RS256", Der: der(t, s.ec.Public())},
		"none": {Alg: "none", Der: der(t, s.ec.Public())},
	} {
		if _, err := jwt.New(&snapshot.JWTProvider{Name: "idp", Issuer: issuer, Keys: []*snapshot.JWTKey{k}}, nil); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// FuzzClaim: nothing crashes, and only what our key signed has a claim.
func FuzzClaim(f *testing.F) {
	s := newSigners(f)
	good := sign(f, jose.ES256, s.ec, "ec", claims(nil), nil)
	for _, seed := range []string{
		good, "Bearer a.b.c", "Bearer ..", "bearer e30.e30.", "Bearer {}", "Bearer eyJhbGciOiJub25lIn0.e30.",
		"Bearer eyJhbGciOiJFUzI1NiIsImNyaXQiOlsiYjY0Il0sImI2NCI6ZmFsc2V9.e30.AAAA", "Bearer " + strings.Repeat("A", 9000),
	} {
		f.Add(seed)
	}
	p := s.provider(f, "sub")
	signed := strings.TrimPrefix(good, "Bearer ")
	head := signed[:strings.LastIndexByte(signed, '.')]
	f.Fuzz(func(t *testing.T, field string) {
		if v := p.Claim([]byte(field), "sub", now); v != nil && !strings.Contains(field, head) {
			t.Fatalf("%q has the claim %q", field, v)
		}
	})
}
