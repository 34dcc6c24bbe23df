// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
)

// `weir thrift call` through `weir run`, in the place of a policy, a client and a
// sidecar: a limit by an argument, and the exception that the IDL declares for it.
func TestRunLimitsThrift(t *testing.T) {
	charge := mapped(t, "Shop.charge")
	const policy = `apiVersion: weir.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{name: payments}]
  limits: [{name: per-user, match: [{thrift: {service: Shop, methods: [charge]}}], key: [{thriftField: "1.1"}], limit: 2, window: 3600s}]
  response: {thrift: {exceptionField: FIELD}}
`
	for _, transport := range []string{"framed", "buffered", "header"} {
		for field, want := range map[string]string{
			"1": `Shop.charge threw Denied: {"message":"weir: rate limited; policy=shop/payments; limit=per-user; retry_after_ms=`,
			"0": `TApplicationException 6: weir: rate limited; policy=shop/payments; limit=per-user; retry_after_ms=`,
		} {
			t.Run(transport+" "+field, func(t *testing.T) {
				a := answerer{model: charge, call: "charge", typ: charge.named("Receipt"), value: modelStruct{[]modelField{{4, []byte("hi")}}}, got: make(chan modelStruct, 9)}
				app := serveThrift(t, &a, transport, "compact")
				file := policyFile(t, strings.Replace(policy, "FIELD", field, 1))
				run := startCommand(t, "run", "--listener", "name=payments/calls,listen=127.0.0.1:0,protocol=thrift,upstream="+app, "-f", file, "--admin", "127.0.0.1:0")
				address := strings.Fields(run.await(t, "listening on "))[2]
				admin := strings.Fields(run.await(t, "health and metrics on "))[4]
				ask := func(user string) error {
					_, err := runThrift(t, "", "--idl", shopIDL, "--addr", address, "--transport", transport, "--protocol", "compact",
						"Shop.charge", fmt.Sprintf(`{"req": {"userId": %q, "amount": 1}}`, user))
					return err
				}
				for _, user := range []string{"7", "7", "8"} {
					if err := ask(user); err != nil {
						t.Errorf("user %s: %v", user, err)
					}
				}
				if err := ask("7"); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the third call of user 7: %v, want %s", err, want)
				}
				if len(a.got) != 3 {
					t.Errorf("the application got %d calls, want 3", len(a.got))
				}
				m := decisions(t, admin)
				for _, want := range []string{`decision="allowed",filter="ratelimit",limit="per-user",policy="payments",source="memory"} 3`, `decision="denied"`} {
					if !strings.Contains(m, want) {
						t.Errorf("the metrics lack %s:\n%s", want, m)
					}
				}
			})
		}
	}
}

func TestWhyRefusesThrift(t *testing.T) {
	_, _, err := execute(t, "", "why", "-f", "../../config/samples/ratelimitpolicy-thrift.yaml", "--request", "GET /")
	if err == nil || !strings.Contains(err.Error(), "explains requests of HTTP only") {
		t.Errorf("got %v", err)
	}
}
