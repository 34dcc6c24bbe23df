// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// A rolling update under load fails no request.
func TestRollingUpdateUnderLoad(t *testing.T) {
	ns := namespace(t, "e2e-rollout", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 1000000, ""))
	waitProgrammed(t, ns, "payments")

	done := load(t, ns, "http://shop/")
	kubectl(t, "rollout", "restart", "-n", ns, "deployment/shop")
	rolledOut(t, ns, "deployment/shop")
	eventually(t, "the pods from before are gone", func() error {
		if pods := strings.Fields(kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "name")); len(pods) != 2 {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
	done()
}

// load sends requests, some of which were answered when it returns, until done is
// called, which fails the test for every one that got another answer than 200.
func load(t *testing.T, ns, url string) (done func()) {
	t.Helper()
	const who = "X-Client-Id: load"
	end := underway(t, ns, "/app/echo", "get", "-until-eof", "-summary", "-c", "4", "-timeout", "30s", "-H", who, url)
	ips := strings.Fields(kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[*].status.podIP}"))
	eventually(t, "requests are under way", func() error {
		for _, ip := range ips {
			if r := send(t, ns, "http://"+ip+":16000/metrics")[0]; strings.Contains(r.Body, "\nweir_request_duration_seconds_count") {
				return nil
			}
		}
		return fmt.Errorf("%v have counted none", ips)
	})
	return func() {
		t.Helper()
		out, err := end()
		if err != nil {
			t.Fatal(err)
		}
		all, err := responses(out)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, x := range all {
			total += x.Count
			if x.Status != 200 {
				t.Errorf("%d requests with status %d %s", x.Count, x.Status, x.Error)
			}
		}
		if total == 0 {
			t.Error("no request was sent")
		}
		t.Logf("%d requests", total)
	}
}

// Redis gone: LocalFallback divides the limit among the ready pods; Redis back:
// the pods share one limit again.
func TestRedisGoneAndBack(t *testing.T) {
	ns := namespace(t, "e2e-redis", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 10, "  failurePolicy: LocalFallback"))
	waitProgrammed(t, ns, "payments")
	limited(t, ns, "shop", 10)

	kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-dev-backends", "--replicas=0")
	back := func() {
		kubectl(t, "scale", "-n", systemNamespace, "deployment/weir-dev-backends", "--replicas=1")
		rolledOut(t, systemNamespace, "deployment/weir-dev-backends")
	}
	restored := false
	t.Cleanup(func() {
		if !restored {
			back()
		}
	})
	eventually(t, "no Redis", func() error {
		if out := kubectl(t, "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/component=dev-backends", "-o", "name"); out != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
	// One pod alone admits its share; which pod answers is the Service's choice.
	ip := kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].status.podIP}")
	eventually(t, "without Redis, the share of one of two pods", func() error {
		if count, _ := pay(t, ns, ip+":8080", unique(t), 14); count[200] != 5 || count[429] != 9 {
			return fmt.Errorf("got %v, want 5 times 200 and 9 times 429", count)
		}
		return nil
	})

	back()
	restored = true
	eventually(t, "one limit for both pods again", func() error {
		if count, _ := pay(t, ns, "shop", unique(t), 14); count[200] != 10 || count[429] != 4 {
			return fmt.Errorf("got %v, want 10 times 200", count)
		}
		return nil
	})
}
