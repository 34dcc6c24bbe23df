// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// A rolling update under load fails no request.
func TestRollingUpdateUnderLoad(t *testing.T) {
	ns := namespace(t, "e2e-rollout", inject)
	client(t, ns)
	deploy(t, ns, app{name: "shop", replicas: 2, port: 8080, targetPort: "8080"})
	apply(t, ns, policy("payments", "shop", 1000000, ""))
	waitProgrammed(t, ns, "payments")

	done := load(t, ns, "30s", "http://shop/")
	time.Sleep(2 * time.Second)
	kubectl(t, "rollout", "restart", "-n", ns, "deployment/shop")
	kubectl(t, "rollout", "status", "-n", ns, "deployment/shop", "--timeout=120s")
	done()
}

// load sends requests for a while; the function it returns waits for the end and
// fails the test for every one that got another answer than 200.
func load(t *testing.T, ns, duration, url string) (done func()) {
	t.Helper()
	type result struct {
		all []response
		err error
	}
	results := make(chan result, 1)
	go func() {
		all, err := trySend(ns, "-summary", "-c", "4", "-d", duration, "-H", "X-Client-Id: load", url)
		results <- result{all, err}
	}()
	return func() {
		t.Helper()
		r := <-results
		if r.err != nil {
			t.Fatal(r.err)
		}
		total := 0
		for _, x := range r.all {
			total += x.Count
			if x.Status != 200 {
				t.Errorf("%d requests with status %d %s", x.Count, x.Status, x.Error)
			}
		}
		if total < 100 {
			t.Errorf("only %d requests were sent", total)
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
		kubectl(t, "rollout", "status", "-n", systemNamespace, "deployment/weir-dev-backends", "--timeout=60s")
	}
	restored := false
	t.Cleanup(func() {
		if !restored {
			back()
		}
	})
	eventually(t, 60*time.Second, "no Redis", func() error {
		if out := kubectl(t, "get", "pods", "-n", systemNamespace, "-l", "app.kubernetes.io/component=dev-backends", "-o", "name"); out != "" {
			return fmt.Errorf("still there: %s", out)
		}
		return nil
	})
	// One pod alone admits its share; which pod answers is the Service's choice.
	ip := kubectl(t, "get", "pods", "-n", ns, "-l", "app=shop", "-o", "jsonpath={.items[0].status.podIP}")
	count, _ := pay(t, ns, ip+":8080", unique(t), 14)
	if count[200] != 5 || count[429] != 9 {
		t.Errorf("without Redis, one of two pods: got %v, want 5 times 200 and 9 times 429", count)
	}

	back()
	restored = true
	eventually(t, 60*time.Second, "one limit for both pods again", func() error {
		if count, _ := pay(t, ns, "shop", unique(t), 14); count[200] != 10 || count[429] != 4 {
			return fmt.Errorf("got %v, want 10 times 200", count)
		}
		return nil
	})
}
