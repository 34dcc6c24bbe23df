// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/kube"
)

const claimPolicy = `apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  limits:
  - name: per-subject
    key: [{jwtClaim: {provider: idp, claim: sub}}]
    onMissingKey: Deny
    limit: 2
    window: 3600s
`

// signer has the private key of a provider of tokens.
type signer struct {
	id      string
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

func newSigner(t *testing.T, id string) signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{id, public, private}
}

// token of alice for the shop, valid for an hour, but for what more says.
func (s signer) token(t *testing.T, more map[string]any) string {
	t.Helper()
	key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: s.private, KeyID: s.id}}
	j, err := jose.NewSigner(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := j.Sign(claims(t, more))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func claims(t *testing.T, more map[string]any) []byte {
	t.Helper()
	all := map[string]any{"iss": "https://idp.example", "aud": "shop", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, more)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// unsigned is a token of the algorithm none.
func unsigned(t *testing.T) string {
	t.Helper()
	part := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	return part([]byte(`{"alg":"none"}`)) + "." + part(claims(t, nil)) + "."
}

// provider is the flag --jwt-provider for some keys.
func provider(t *testing.T, all ...signer) string {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range all {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.public, KeyID: s.id, Algorithm: string(jose.EdDSA), Use: "sig"})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return "name=idp,issuer=https://idp.example,audience=shop,jwks=" + file
}

// invalid tokens, by what is wrong with them.
func invalid(t *testing.T, s signer) map[string]string {
	t.Helper()
	good := s.token(t, nil)
	parts := strings.Split(good, ".")
	return map[string]string{
		"expired":              s.token(t, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"not yet valid":        s.token(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"of another audience":  s.token(t, map[string]any{"aud": "bank"}),
		"of another issuer":    s.token(t, map[string]any{"iss": "https://other.example"}),
		"without the claim":    s.token(t, map[string]any{"sub": nil}),
		"not signed":           unsigned(t),
		"signed by a stranger": newSigner(t, s.id).token(t, nil),
		"with other claims":    parts[0] + "." + base64.RawURLEncoding.EncodeToString(claims(t, map[string]any{"sub": "bob"})) + "." + parts[2],
		"not a token":          "neither.of.them",
	}
}

// What counts on a connection is a token that holds, and nothing else.
func TestRunLimitsByClaims(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer app.Close()
	current, next := newSigner(t, "2026-10"), newSigner(t, "2026-11")
	file := policyFile(t, claimPolicy)
	run := startRun(t, strings.TrimPrefix(app.URL, "http://"), "-f", file, "--jwt-provider", provider(t, current))
	ask := func(fields ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+run.address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			req.Header.Add("Authorization", f)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode == http.StatusOK && string(body) != fields[0] {
			t.Errorf("the application got %q, want %q", body, fields[0])
		}
		return resp.StatusCode
	}
	several := func(tokens ...string) (all []int) {
		t.Helper()
		for _, token := range tokens {
			all = append(all, ask("Bearer "+token))
		}
		return all
	}
	// One count for all tokens of a subject, another for the next.
	first, second := current.token(t, nil), current.token(t, map[string]any{"jti": "2"})
	if got, want := several(first, second, first, second), []int{200, 200, 429, 429}; !slices.Equal(got, want) {
		t.Errorf("two tokens of alice: got %v, want %v", got, want)
	}
	if got := several(current.token(t, map[string]any{"sub": "bob"})); got[0] != 200 {
		t.Errorf("a token of bob: got %v, want 200", got)
	}
	for name, token := range invalid(t, current) {
		if got := several(token); got[0] != 400 {
			t.Errorf("a token that is %s: got %v, want 400", name, got)
		}
	}
	if got := ask(); got != 400 {
		t.Errorf("no token: got %d, want 400", got)
	}
	if got := ask("Bearer "+first, "Bearer "+first); got != 400 {
		t.Errorf("two tokens: got %d, want 400", got)
	}
	if got := several(next.token(t, nil)); got[0] != 400 {
		t.Errorf("a token of a key that is not known yet: got %v, want 400", got)
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}

	// The keys are rotated: both hold, then only the new one.
	carol := map[string]any{"sub": "carol"}
	for name, test := range map[string]struct {
		keys []signer
		want []int
	}{
		"both":     {[]signer{current, next}, []int{200, 200}},
		"only new": {[]signer{next}, []int{400, 200}},
	} {
		run = startRun(t, strings.TrimPrefix(app.URL, "http://"), "-f", file, "--jwt-provider", provider(t, test.keys...))
		if got := several(current.token(t, carol), next.token(t, carol)); !slices.Equal(got, test.want) {
			t.Errorf("%s: tokens of the old and of the new key: got %v, want %v", name, got, test.want)
		}
		if err := run.stop(); err != nil {
			t.Error(err)
		}
	}
}

// A token is verified, and what it says of its owner is not printed.
func TestWhyOfClaims(t *testing.T) {
	s := newSigner(t, "a")
	all := invalid(t, s)
	all["valid"] = s.token(t, nil)
	for name, token := range all {
		t.Run(name, func(t *testing.T) {
			for _, output := range []string{"table", "json"} {
				got := whyOf(t, output, s, token)
				if strings.Contains(got, token) || strings.Contains(got, "alice") || strings.Contains(got, "bob") {
					t.Errorf("the token or its claim is printed:\n%s", got)
				}
				if output == "table" {
					golden(t, map[bool]string{true: "claim", false: "claim missing"}[name == "valid"], got)
				}
			}
		})
	}
}

func whyOf(t *testing.T, output string, s signer, token string) string {
	t.Helper()
	f := whyFlags{
		files: []string{policyFile(t, claimPolicy)}, providers: []string{provider(t, s)}, now: standing, output: output, count: 3,
		request: "GET /", headers: []string{"Authorization: Bearer " + token},
	}
	return strings.ReplaceAll(print(t, &f), f.files[0], "policy.yaml")
}

// Against a cluster the provider is its configuration's, and only the keys are the
// flag's.
func TestWhyOfClaimsInACluster(t *testing.T) {
	s := newSigner(t, "a")
	policy := &v1alpha1.RateLimitPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "payments", Namespace: "shop", Generation: 1, UID: "u"},
		Spec: v1alpha1.RateLimitPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Limits: []v1alpha1.Limit{{
				Name: "per-subject", Limit: 5, Window: "60s", Algorithm: v1alpha1.AlgorithmSlidingWindow, Scope: v1alpha1.LimitScopePod,
				Key: []v1alpha1.KeyMember{{JWTClaim: &v1alpha1.JWTClaimKey{Provider: "idp", Claim: "sub"}}}, OnMissingKey: v1alpha1.OnMissingKeyDeny,
			}},
		},
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects := fake.NewClientBuilder().WithScheme(scheme).WithObjects(policy,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "payments", Namespace: "shop"},
			Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": "payments"},
				Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}},
			},
		},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "payments-1", Namespace: "shop", UID: "p", Labels: map[string]string{"app": "payments"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
			Status:     corev1.PodStatus{PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "weir-config", Namespace: "weir-system"}, Data: map[string]string{
			"config.yaml": "jwtProviders: [{name: idp, issuer: 'https://idp.example', audiences: [shop], jwks: {url: 'https://idp.example/keys'}}]\n",
		}},
	).Build()
	for name, test := range map[string]struct {
		providers []string
		decision  string
		noted     bool
	}{
		"with its keys":    {[]string{provider(t, s)}, "allowed", false},
		"without its keys": {nil, "denied", true},
		// What the flag says of the issuer does not count: the cluster's configuration does.
		"with another issuer": {[]string{strings.Replace(provider(t, s), "idp.example", "other.example", 1)}, "allowed", false},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &kube.Cluster{Client: objects, Namespace: "shop", System: "weir-system"}
			f := whyFlags{
				now: standing, service: "payments", output: "table", count: 1, providers: test.providers,
				request: "GET /", headers: []string{"Authorization: Bearer " + s.token(t, nil)},
			}
			r, err := f.parse()
			if err != nil {
				t.Fatal(err)
			}
			if err := f.addTokens(t.Context(), cluster); err != nil {
				t.Fatal(err)
			}
			answer, err := f.fromCluster(t.Context(), cluster, r)
			if err != nil {
				t.Fatal(err)
			}
			noted := strings.Contains(strings.Join(answer.Notes, "\n"), "--jwt-provider name=idp,issuer=https://idp.example,jwks=")
			if answer.Decision != test.decision || noted != test.noted {
				t.Errorf("%s, notes %q; want %s, a note of keys: %v", answer.Decision, answer.Notes, test.decision, test.noted)
			}
		})
	}
}
