// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"strings"
	"testing"
)

// Bad values are refused before anything is installed, and the message says where.
func TestSchemaRefuses(t *testing.T) {
	for name, test := range map[string]struct{ set, want string }{
		"unknown value":           {`replica=2`, "'replica' not allowed"},
		"unknown nested value":    {`webhook={"failPolicy":"Fail"}`, "at '/webhook'"},
		"no replicas":             {`replicas=0`, "at '/replicas'"},
		"replicas in words":       {`replicas="two"`, "at '/replicas'"},
		"capture":                 {`injection={"capture":"Magic"}`, "at '/injection/capture'"},
		"onMissingConfig":         {`injection={"onMissingConfig":"Allow"}`, "at '/injection/onMissingConfig'"},
		"sidecar log level":       {`injection={"logLevel":"trace"}`, "at '/injection/logLevel'"},
		"resource claims":         {`injection={"resources":{"claims":[{"name":"x"}]}}`, "at '/injection/resources'"},
		"failure policy":          {`webhook={"failurePolicy":"Maybe"}`, "at '/webhook/failurePolicy'"},
		"timeout":                 {`webhook={"timeoutSeconds":31}`, "at '/webhook/timeoutSeconds'"},
		"store without redis":     {`stores=[{"name":"default"}]`, "at '/stores/0'"},
		"store's name":            {`stores=[{"name":"De fault","redis":{"addresses":["r:1"]}}]`, "at '/stores/0/name'"},
		"store without addresses": {`stores=[{"name":"a","redis":{"addresses":[]}}]`, "at '/stores/0/redis/addresses'"},
		"address without port":    {`stores=[{"name":"a","redis":{"addresses":["r"]}}]`, "at '/stores/0/redis/addresses/0'"},
		"sentinel without master": {`stores=[{"name":"a","redis":{"mode":"Sentinel","addresses":["r:1"]}}]`, "masterName"},
		"master without sentinel": {`stores=[{"name":"a","redis":{"masterName":"m","addresses":["r:1"]}}]`, "at '/stores/0/redis'"},
		"redis mode":              {`stores=[{"name":"a","redis":{"mode":"Ring","addresses":["r:1"]}}]`, "at '/stores/0/redis/mode'"},
		"braces in a prefix":      {`stores=[{"name":"a","keyPrefix":"{x}","redis":{"addresses":["r:1"]}}]`, "at '/stores/0/keyPrefix'"},
		"names without names":     {`stores=[{"name":"a","allowedNamespaces":{"from":"Names"},"redis":{"addresses":["r:1"]}}]`, "'names'"},
		"password in values":      {`stores=[{"name":"a","redis":{"addresses":["r:1"],"credentials":{"password":"x"}}}]`, "at '/stores/0/redis/credentials'"},
		"kafka is not there yet":  {`kafkaClusters=[{"name":"default","brokers":["k:1"]}]`, "kafkaClusters: This version of Weir does not support Kafka: remove it."},
		"provider without keys":   {`jwtProviders=[{"name":"idp","issuer":"i"}]`, "at '/jwtProviders/0'"},
		"keys over plain http":    {`jwtProviders=[{"name":"idp","issuer":"i","jwks":{"url":"http://idp.example/keys"}}]`, "at '/jwtProviders/0/jwks/url'"},
		"egress is not yet":       {`egress={"denyCIDRs":["10.0.0.0/8"]}`, "egress: This version of Weir makes no outgoing calls"},
		"trusted proxy by name":   {`identity={"trustedProxies":["proxy.example"]}`, "at '/identity/trustedProxies/0'"},
		"header with a space":     {`identity={"identityHeaders":["X Client"]}`, "at '/identity/identityHeaders/0'"},
		"size of heads":           {`proxy={"headBytes":"16KB"}`, "at '/proxy/headBytes'"},
		"connections below 0":     {`proxy={"maxConnections":-1}`, "at '/proxy/maxConnections'"},
		"duration":                {`proxy={"timeouts":{"idle":"1.5h"}}`, "at '/proxy/timeouts/idle'"},
		"response timeout":        {`proxy={"timeouts":{"response":"1m"}}`, "'response' not allowed"},
		"access log":              {`telemetry={"accessLog":{"mode":"On"}}`, "at '/telemetry/accessLog/mode'"},
		"sample":                  {`telemetry={"accessLog":{"samplePercent":101}}`, "at '/telemetry/accessLog/samplePercent'"},
		"collector's scheme":      {`telemetry={"tracing":{"endpoint":"http://otel:4317"}}`, "at '/telemetry/tracing/endpoint'"},
		"tag with a slash":        {`image={"tag":"a/b"}`, "at '/image/tag'"},
		"digest":                  {`image={"digests":{"sidecar":"sha256:1"}}`, "at '/image/digests/sidecar'"},
		"pull policy":             {`image={"pullPolicy":"Sometimes"}`, "at '/image/pullPolicy'"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := helm(t, "template", "weir", chart, "--set-json", test.set)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a refusal with %q", err, test.want)
			}
		})
	}
}
