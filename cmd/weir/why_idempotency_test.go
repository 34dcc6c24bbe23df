// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// What is said of records: which policy, whose key, and why a request is ignored. No store
// is asked.
func TestWhyIdempotency(t *testing.T) {
	pay := "POST /users/1/payments"
	for name, f := range map[string]whyFlags{
		"once executed":       {service: "payments", port: "http", request: pay, headers: []string{"X-Client-Id: a", "Idempotency-Key: k1"}},
		"once without a key":  {service: "payments", port: "http", request: pay, headers: []string{"X-Client-Id: a"}},
		"once without scope":  {service: "payments", port: "http", request: pay, headers: []string{"Idempotency-Key: k1"}},
		"once does not match": {service: "payments", port: "http", request: "POST /other", headers: []string{"Idempotency-Key: k1"}},
		"once never recorded": {service: "payments", port: "http", request: "GET /users/1/payments", headers: []string{"X-Client-Id: a", "Idempotency-Key: k1"}},
		"once after a limit":  {service: "payments", port: "http", request: pay, headers: []string{"X-Client-Id: a", "Idempotency-Key: k1"}, count: 3},
		"once key missing":    {service: "payments", port: "strict", request: pay},
		"once key too long":   {service: "payments", port: "strict", request: pay, headers: []string{"Idempotency-Key: 123456789"}},
		"once derived":        {service: "payments", port: "derived", request: pay, headers: []string{"Cookie: session=s", "X-Order: 7"}},
		"once in the body":    {service: "payments", port: "body", request: pay},
		"once json":           {service: "payments", port: "http", request: pay, headers: []string{"X-Client-Id: a", "Idempotency-Key: k1"}, output: "json"},
	} {
		t.Run(name, func(t *testing.T) {
			f.service = strings.Join([]string{f.service, f.port}, "/")
			f.files, f.now, f.count = []string{"testdata/why/idempotency.yaml"}, standing, max(1, f.count)
			f.output = map[bool]string{true: "table", false: f.output}[f.output == ""]
			golden(t, name, print(t, &f))
		})
	}
}
