// SPDX-License-Identifier: Apache-2.0

package config

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		yaml string
		want func(*Config)
	}{
		"empty":              {"", func(*Config) {}},
		"Off without quotes": {"telemetry: {accessLog: {mode: Off}}", func(*Config) {}},
		"defaults of a store": {
			`stores: [{name: default, redis: {addresses: ["redis:6379"]}}]`,
			func(c *Config) {
				c.Stores = []Store{{
					Name: "default", KeyPrefix: "weir",
					Redis:             &Redis{Mode: RedisStandalone, Addresses: []string{"redis:6379"}},
					AllowedNamespaces: AllowedNamespaces{From: FromAll},
				}}
			},
		},
		"the block of the API page": {
			`
stores:
- name: default
  redis: {mode: Standalone, addresses: [redis:6379], tls: {}, credentials: {secret: redis}}
  keyPrefix: weir
  allowedNamespaces: {from: All}
  namespaceCredentials: {shop: redis-shop}
kafkaClusters: []
jwtProviders: []
identity: {trustedProxies: [], identityHeaders: []}
egress: {allowHosts: ["*"], denyCIDRs: [], allowPlainHTTP: false}
injection: {capture: Redirect, onMissingConfig: PassThrough, imagePullSecrets: []}
devBackends: {enabled: true}
proxy: {headBytes: 16Ki, maxConnections: 65536, timeouts: {idle: 1h, stall: 5m, connect: 5s}}
telemetry:
  accessLog: {mode: Sampled, samplePercent: 0.0001}
  tracing: {endpoint: "otel:4317", tls: {enabled: true}, samplePercent: 0}
`,
			func(c *Config) {
				c.Stores = []Store{{
					Name: "default", KeyPrefix: "weir",
					Redis: &Redis{
						Mode: RedisStandalone, Addresses: []string{"redis:6379"},
						Credentials: Credentials{Secret: "redis"},
					},
					AllowedNamespaces:    AllowedNamespaces{From: FromAll},
					NamespaceCredentials: map[string]string{"shop": "redis-shop"},
				}}
				c.Injection.Capture, c.Injection.OnMissingConfig = "Redirect", "PassThrough"
				c.DevBackends.Enabled = true
				c.Proxy = Proxy{HeadBytes: "16Ki", MaxConnections: 65536, Timeouts: ProxyTimeouts{Idle: "1h", Stall: "5m", Connect: "5s"}}
				c.Telemetry.AccessLog = AccessLog{Mode: AccessLogSampled, SamplePercent: new(0.0001)}
				c.Telemetry.Tracing = Tracing{Endpoint: "otel:4317", TLS: TLS{Enabled: true}, SamplePercent: new(0.0)}
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			want := Default()
			c.want(&want)
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	store := func(s string) string { return "stores: [{name: s, redis: {addresses: ['r:1']}, " + s + "}]" }
	redis := func(s string) string { return "stores: [{name: s, redis: {" + s + "}}]" }
	cases := map[string]struct{ yaml, want string }{
		"unknown field":          {"stores: [{name: s, redis: {adresses: [a]}}]", `unknown field "stores[0].redis.adresses"`},
		"twice":                  {"stores: []\nstores: []", `key "stores" already set`},
		"not YAML":               {"{", "not YAML"},
		"wrong type":             {"stores: 3", "stores"},
		"no name":                {"stores: [{redis: {addresses: ['r:1']}}]", "stores[0].name: "},
		"name twice":             {"stores: [{name: a, redis: {addresses: ['r:1']}}, {name: a, redis: {addresses: ['r:1']}}]", "stores[1].name: "},
		"no redis":               {"stores: [{name: a}]", "stores[0].redis: "},
		"no address":             {redis("addresses: []"), "stores[0].redis.addresses: "},
		"no port":                {redis("addresses: [r]"), "stores[0].redis.addresses[0]: "},
		"port 0":                 {redis("addresses: ['r:0']"), "stores[0].redis.addresses[0]: "},
		"two standalone":         {redis("addresses: ['a:1', 'b:1']"), "stores[0].redis.addresses: Standalone"},
		"mode":                   {redis("addresses: ['a:1'], mode: Ring"), "stores[0].redis.mode: "},
		"sentinel without":       {redis("addresses: ['a:1'], mode: Sentinel"), "stores[0].redis.masterName: "},
		"master without":         {redis("addresses: ['a:1'], masterName: m"), "stores[0].redis.masterName: "},
		"tls off":                {redis("addresses: ['a:1'], tls: {serverName: x}"), "stores[0].redis.tls.enabled: "},
		"ca":                     {redis("addresses: ['a:1'], tls: {enabled: true, ca: x}"), "stores[0].redis.tls.ca: "},
		"secret":                 {redis("addresses: ['a:1'], credentials: {secret: A}"), "stores[0].redis.credentials.secret: "},
		"prefix with braces":     {store("keyPrefix: 'a{b}'"), "stores[0].keyPrefix: "},
		"from":                   {store("allowedNamespaces: {from: Some}"), "stores[0].allowedNamespaces.from: "},
		"names without":          {store("allowedNamespaces: {from: Names}"), "stores[0].allowedNamespaces.names: "},
		"selector with All":      {store("allowedNamespaces: {selector: {}}"), "stores[0].allowedNamespaces.selector: "},
		"selector":               {store("allowedNamespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: Is}]}}"), "stores[0].allowedNamespaces.selector: "},
		"namespace secret":       {store("namespaceCredentials: {shop: A}"), "stores[0].namespaceCredentials[shop]: "},
		"namespace of secret":    {store("namespaceCredentials: {A: a}"), "stores[0].namespaceCredentials: "},
		"trusted proxy":          {"identity: {trustedProxies: [10.0.0.0/33]}", "identity.trustedProxies[0]: "},
		"proxy as 4in6":          {"identity: {trustedProxies: ['::ffff:10.0.0.1']}", "identity.trustedProxies[0]: "},
		"identity header":        {"identity: {identityHeaders: ['a b']}", "identity.identityHeaders[0]: "},
		"capture":                {"injection: {capture: Magic}", "injection.capture: "},
		"on missing config":      {"injection: {onMissingConfig: Maybe}", "injection.onMissingConfig: "},
		"pull secret":            {"injection: {imagePullSecrets: [{name: A}]}", "injection.imagePullSecrets[0].name: "},
		"kafka is not there yet": {"kafkaClusters: [{name: a, brokers: ['k:1']}]", "kafkaClusters: This version of Weir does not support"},
		"jwt without url":        {"jwtProviders: [{name: a, issuer: i, jwks: {url: u}}]", "jwtProviders[0].jwks.url: \"u\" is no URL"},
		"jwt over http":          {"jwtProviders: [{name: a, issuer: i, jwks: {url: \"http://idp.example/k\"}}]", "jwtProviders[0].jwks.url: \"http://idp.example/k\" is not https"},
		"jwt over http at home":  {"jwtProviders: [{name: a, issuer: i, jwks: {url: \"http://127.0.0.1/k\"}}]", "jwtProviders[0].jwks.url: \"http://127.0.0.1/k\" is not https"},
		"jwt with a password":    {"jwtProviders: [{name: a, issuer: i, jwks: {url: \"https://u:p@idp.example/k\"}}]", "jwtProviders[0].jwks.url: "},
		"jwt without issuer":     {"jwtProviders: [{name: a, jwks: {url: \"https://idp.example/k\"}}]", "jwtProviders[0].issuer: "},
		"jwt's name":             {"jwtProviders: [{name: A, issuer: i, jwks: {url: \"https://idp.example/k\"}}]", "jwtProviders[0].name: "},
		"jwt twice":              {"jwtProviders: [{name: a, issuer: i, jwks: {url: \"https://i.example/k\"}}, {name: a, issuer: i, jwks: {url: \"http://idp.auth.svc/k\"}}]", "jwtProviders[1].name: The provider \"a\" is there already"},
		"head":                   {"proxy: {headBytes: 16KB}", `proxy.headBytes: "16KB" is no size between 4Ki and 1Mi`},
		"small head":             {"proxy: {headBytes: 3Ki}", "proxy.headBytes: "},
		"large head":             {"proxy: {headBytes: 2Mi}", "proxy.headBytes: "},
		"connections":            {"proxy: {maxConnections: -1}", "proxy.maxConnections: "},
		"many connections":       {"proxy: {maxConnections: 1048577}", "proxy.maxConnections: "},
		"idle":                   {"proxy: {timeouts: {idle: 25h}}", `proxy.timeouts.idle: "25h" is no duration between 1s and 24h: write it as in 1h.`},
		"stall":                  {"proxy: {timeouts: {stall: 0s}}", "proxy.timeouts.stall: "},
		"connect":                {"proxy: {timeouts: {connect: 5}}", "proxy.timeouts.connect"},
		"connect's form":         {"proxy: {timeouts: {connect: 1.5s}}", `proxy.timeouts.connect: "1.5s" is no duration between 10ms and 1m: write it as in 5s.`},
		"response":               {"proxy: {timeouts: {response: 5s}}", `unknown field "proxy.timeouts.response"`},
		"log mode":               {"telemetry: {accessLog: {mode: on}}", "accessLog.mode"},
		"log mode's name":        {"telemetry: {accessLog: {mode: Some}}", `telemetry.accessLog.mode: "Some" is not known: use Off, Errors, Sampled or All.`},
		"log sample":             {"telemetry: {accessLog: {samplePercent: 100.1}}", "telemetry.accessLog.samplePercent: 100.1 is no percentage"},
		"decimals":               {"telemetry: {tracing: {samplePercent: 0.00001}}", "telemetry.tracing.samplePercent: 1e-05 is no percentage between 0 and 100 with four decimals"},
		"below 0":                {"telemetry: {tracing: {samplePercent: -1}}", "telemetry.tracing.samplePercent: "},
		"sample of nothing":      {"telemetry: {accessLog: {mode: Sampled, samplePercent: 0}}", "telemetry.accessLog.samplePercent: A sample of nothing"},
		"endpoint":               {"telemetry: {tracing: {endpoint: otel}}", `telemetry.tracing.endpoint: "otel" is no host:port`},
		"endpoint with a scheme": {"telemetry: {tracing: {endpoint: 'http://otel:4317'}}", "Leave the scheme out"},
		"tracing's TLS":          {"telemetry: {tracing: {endpoint: 'otel:4317', tls: {ca: x}}}", "telemetry.tracing.tls.enabled: "},
		"egress hosts":           {"egress: {allowHosts: [a]}", "egress.allowHosts: This version"},
		"egress CIDRs":           {"egress: {denyCIDRs: [10.0.0.0/8]}", "egress.denyCIDRs: This version"},
		"egress plain":           {"egress: {allowPlainHTTP: true}", "egress.allowPlainHTTP: This version"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestPermits(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	cases := map[string]struct {
		allowed AllowedNamespaces
		labels  map[string]string
		want    bool
	}{
		"all":           {AllowedNamespaces{From: FromAll}, nil, true},
		"name":          {AllowedNamespaces{From: FromNames, Names: []string{"x", "shop"}}, nil, true},
		"other name":    {AllowedNamespaces{From: FromNames, Names: []string{"x"}}, nil, false},
		"selected":      {AllowedNamespaces{From: FromSelector, Selector: selector}, map[string]string{"team": "a"}, true},
		"not selected":  {AllowedNamespaces{From: FromSelector, Selector: selector}, map[string]string{"team": "b"}, false},
		"unknown never": {AllowedNamespaces{From: "Some"}, nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.allowed.Permits("shop", c.labels); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestIdentityCanonical(t *testing.T) {
	got := Identity{
		TrustedProxies:  []string{"10.1.2.3/8", "fd00::1", "10.0.0.0/8", "not one"},
		IdentityHeaders: []string{"X-B", "x-a", "X-A"},
	}.Canonical()
	want := Identity{
		TrustedProxies:  []string{"10.0.0.0/8", "fd00::1/128"},
		IdentityHeaders: []string{"x-a", "x-b"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestSecret(t *testing.T) {
	s := Store{
		Redis:                &Redis{Credentials: Credentials{Secret: "all"}},
		NamespaceCredentials: map[string]string{"shop": "own"},
	}
	for ns, want := range map[string]string{"shop": "own", "other": "all"} {
		if got := s.Secret(ns); got != want {
			t.Errorf("%s: got %q, want %q", ns, got, want)
		}
	}
}

func TestPerMillion(t *testing.T) {
	for percent, want := range map[float64]uint32{0: 0, 0.0001: 1, 0.1: 1000, 0.29: 2900, 1: 10_000, 33.3333: 333_333, 99.9999: 999_999, 100: 1_000_000} {
		if got, ok := PerMillion(percent); !ok || got != want {
			t.Errorf("%v: got %d, %v, want %d", percent, got, ok, want)
		}
	}
	for _, percent := range []float64{-0.0001, 0.00005, 33.33333, 100.0001, math.NaN(), math.Inf(1)} {
		if got, ok := PerMillion(percent); ok {
			t.Errorf("%v: got %d", percent, got)
		}
	}
}
