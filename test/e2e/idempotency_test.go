// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The sample, over two replicas: what is paid once is answered alike ever after,
// whichever pod is asked, also when both pods have been replaced.
func TestIdempotency(t *testing.T) {
	text, err := os.ReadFile("../../config/samples/idempotencypolicy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, "e2e-idempotency", inject)
	client(t, ns)
	deploy(t, ns, app{name: "payments", replicas: 2, port: 8080, targetPort: "http"})
	apply(t, ns, strings.Replace(string(text), "namespace: shop", "namespace: "+ns, 1))
	kubectl(t, "wait", "--for=condition=Programmed", timeout, "-n", ns, "idp/payments")

	// The application repeats X-Nonce, so that executions can be told apart.
	ask := func(key, nonce, path string) response {
		return send(t, ns, "-X", "POST", "-H", "X-Client-Id: alice", "-H", "Idempotency-Key: "+key, "-H", "X-Nonce: "+nonce, "http://payments"+path)[0]
	}
	const paid = "/users/1/payments"
	key := ""
	eventually(t, "a payment is executed", func() error {
		key = unique(t)
		r := ask(key, "first", paid)
		if r.Status != 200 || r.header("Idempotency-Status") != "executed" || !strings.Contains(r.Body, `"X-Nonce":"first"`) {
			return fmt.Errorf("%+v", r)
		}
		for _, name := range []string{"Weir-Idempotency-Id", "Weir-Idempotency-Fence", "Weir-Idempotency-Attempt"} {
			if !strings.Contains(r.Body, `"`+name+`":"`) {
				return fmt.Errorf("the application got no %s: %s", name, r.Body)
			}
		}
		return nil
	})
	replayed := func() error {
		for n := range 6 {
			r := ask(key, fmt.Sprint("again ", n), paid)
			if r.Status != 200 || r.header("Idempotent-Replayed") != "true" || !strings.Contains(r.Body, `"X-Nonce":"first"`) {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	}
	// A store that is slow for a moment answers 503, which is to be repeated.
	eventually(t, "it is replayed by both pods", replayed)
	eventually(t, "another request under the key", func() error {
		if r := ask(key, "other", "/users/2/payments"); r.Status != 422 || !strings.Contains(r.Body, "idempotency-key-reused") {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	kubectl(t, "rollout", "restart", "-n", ns, "deployment/payments")
	rolledOut(t, ns, "deployment/payments", "payments:80")
	eventually(t, "it is replayed by new pods", replayed)
}
