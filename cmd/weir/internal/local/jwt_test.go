// SPDX-License-Identifier: Apache-2.0

package local

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

func TestParseJWT(t *testing.T) {
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) }))
	defer server.Close()
	for flag, want := range map[string]string{
		"name=idp,issuer=i,audience=a,audience=b,jwks=" + file: "",
		"name=idp,issuer=i,jwks=" + server.URL:                 "",
		"name=idp,issuer=i":                                    "write name=",
		"name=idp,name=b,issuer=i,jwks=" + file:                "write name=",
		"name=idp,issuer=i,key=x,jwks=" + file:                 "write name=",
		"name=Idp,issuer=i,jwks=" + file:                       "is no name",
		"name=idp,issuer=i,jwks=http://127.0.0.1/k":            "is not https",
		"name=idp,issuer=i,jwks=" + file + "x":                 "no such file",
	} {
		got, err := ParseJWT(t.Context(), []string{flag}, server.Client())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", flag, err, want)
		}
		if err == nil && (len(got.Keys["idp"]) != 1 || len(got.Providers) != 1) {
			t.Errorf("%s: got %v", flag, got)
		}
	}
}
