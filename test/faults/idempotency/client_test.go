// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// answer is what one call came to, as far as the model of a key goes.
type answer struct {
	kind kind
	// body of a final one, with its status.
	status int
	body   string
}

type kind string

const (
	// final is a response of the application, executed or replayed.
	final kind = "final"
	// refused by the application: not executed.
	refused kind = "refused"
	// inProgress, unknownOutcome and notRetained are the policy's 409s.
	inProgress     kind = "in progress"
	unknownOutcome kind = "unknown"
	notRetained    kind = "not retained"
	// nothing is known: no answer, or one that says nothing of the key.
	nothing kind = "nothing"
	// wrong: an answer that no fault explains.
	wrong kind = "wrong"
)

// client calls as Stripe's SDKs do: one key for all attempts, again after no answer,
// 409, 429 and 5xx, waiting exponentially longer with jitter.
type client struct {
	http *http.Client
	// pods are the addresses behind which the application is.
	pods []string
	rand *rand.Rand
	seed uint64
	// again: a 500 is no final answer, the policy being AtLeastOnce.
	again bool
}

func newClient(pods []string, seed, n uint64, again bool) *client {
	return &client{
		again: again,
		http:  &http.Client{Timeout: 4 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}},
		pods:  pods, rand: rand.New(rand.NewPCG(seed, n)), seed: seed,
	}
}

const maxAttempts = 12

// pay calls until there is a final answer, or no more sense in it, and shows each call
// to seen.
func (c *client) pay(key string, seen func(call func() answer)) {
	for n := range maxAttempts {
		var got answer
		seen(func() answer {
			got = c.call(key)
			return got
		})
		switch got.kind {
		case final:
			if got.status < 500 || n > 3 {
				return
			}
		case unknownOutcome, notRetained:
			// It will not get better, but an SDK asks again.
			if n > 5 {
				return
			}
		case wrong:
			return
		}
		wait := min(20*time.Millisecond<<n, 400*time.Millisecond)
		time.Sleep(wait/2 + time.Duration(c.rand.Int64N(int64(wait))))
	}
}

func (c *client) call(key string) answer {
	body, err := json.Marshal(payment{Key: key, Does: behaviourOf(c.seed, key)})
	if err != nil {
		return answer{kind: wrong, body: err.Error()}
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+c.pods[c.rand.IntN(len(c.pods))]+"/pay", bytes.NewReader(body))
	if err != nil {
		return answer{kind: wrong, body: err.Error()}
	}
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("X-Client-Id", "shop")
	req.Header.Set("Authorization", "Bearer sk_test")
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{kind: nothing}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{kind: nothing}
	}
	a := read(resp, string(text))
	if c.again && a.kind == final && a.status >= 500 {
		a.kind = nothing
	}
	return a
}

func read(resp *http.Response, text string) answer {
	a := answer{status: resp.StatusCode, body: text}
	if resp.Header.Get("Effect") != "" {
		a.kind = final
		if replayed := resp.Header.Get("Idempotent-Replayed") == "true"; replayed && resp.Header.Get("Set-Cookie") != "" {
			a.kind, a.body = wrong, "a replay that sets a cookie"
		}
		return a
	}
	var problem struct{ Type string }
	_ = json.Unmarshal([]byte(text), &problem)
	is := func(name string) bool { return bytes.HasSuffix([]byte(problem.Type), []byte("/"+name)) }
	switch {
	case is("idempotency-in-progress"):
		a.kind = inProgress
	case is("idempotency-outcome-unknown"):
		a.kind = unknownOutcome
	case is("idempotency-response-not-retained"):
		a.kind = notRetained
	case problem.Type == "" && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable):
		a.kind = refused
	case resp.StatusCode >= 500:
		a.kind = nothing
	default:
		a.kind = wrong
	}
	return a
}
