// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// payment is a request of the clients.
type payment struct {
	Key string `json:"key"`
	// Does is what the application does with it.
	Does behaviour `json:"does"`
}

// behaviour of the application.
type behaviour string

const (
	pays        behaviour = "pays"
	paysSlowly  behaviour = "pays slowly"
	paysLate    behaviour = "pays late"            // after the policy's upstream.timeout
	paysAtGreat behaviour = "pays at great length" // a larger answer than is recorded
	fails       behaviour = "fails"                // 500, with an effect
	refuses     behaviour = "refuses"              // 429 the first time
	declines    behaviour = "declines"             // 503, not executed, the first time
	drops       behaviour = "drops"                // executes, and the first time resets the connection
	dropsUndone behaviour = "drops undone"         // the first time resets it, without an effect
)

// behaviourOf chooses by key, mostly good ones.
func behaviourOf(seed uint64, key string) behaviour {
	h := fnv.New64a()
	fmt.Fprint(h, seed, key)
	switch n := h.Sum64() >> 7 % 100; {
	case n < 12:
		return paysSlowly
	case n < 17:
		return paysLate
	case n < 22:
		return paysAtGreat
	case n < 27:
		return fails
	case n < 32:
		return refuses
	case n < 37:
		return declines
	case n < 40:
		return drops
	case n < 42:
		return dropsUndone
	}
	return pays
}

// entry of the ledger: one dispatch.
type entry struct {
	key, id string
	fence   uint64
	attempt int
	// refused: the application has said that nothing was done.
	refused bool
	// effect counts what was done, from 1; 0: nothing.
	effect int
}

// app is the application behind all sidecars.
type app struct {
	*httptest.Server
	t testing.TB

	mu      sync.Mutex
	entries []entry
	effects int
	seen    map[string]bool
}

// late is how long paysLate takes.
const late = upstreamTimeout + 400*time.Millisecond

func startApp(t testing.TB) *app {
	a := &app{t: t, seen: map[string]bool{}}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var p payment
	if err != nil || json.Unmarshal(body, &p) != nil {
		// Nothing of it counts: the sender died in the middle.
		panic(http.ErrAbortHandler)
	}
	e := entry{key: p.Key, id: r.Header.Get("Weir-Idempotency-Id")}
	fence, err := strconv.ParseUint(r.Header.Get("Weir-Idempotency-Fence"), 10, 64)
	attempt, err2 := strconv.Atoi(r.Header.Get("Weir-Idempotency-Attempt"))
	if e.id == "" || err != nil || err2 != nil || r.Header.Get("Idempotency-Key") != p.Key {
		a.t.Errorf("the application got %v for key %s", r.Header, p.Key)
	}
	e.fence, e.attempt = fence, attempt

	a.mu.Lock()
	first := !a.seen[p.Key]
	a.seen[p.Key] = true
	refuses := first && (p.Does == refuses || p.Does == declines)
	switch {
	case refuses:
		e.refused = true
	case p.Does != dropsUndone || !first:
		a.effects++
		e.effect = a.effects
	}
	a.entries = append(a.entries, e)
	a.mu.Unlock()

	switch {
	case refuses && p.Does == declines:
		w.Header().Set("Weir-Idempotency-Outcome", "not-executed")
		http.Error(w, "come again", http.StatusServiceUnavailable)
		return
	case refuses:
		http.Error(w, "come again", http.StatusTooManyRequests)
		return
	}
	status, padding := http.StatusCreated, ""
	switch p.Does {
	case drops, dropsUndone:
		if first {
			panic(http.ErrAbortHandler)
		}
	case paysSlowly:
		time.Sleep(time.Duration(e.effect%8) * 40 * time.Millisecond)
	case paysLate:
		time.Sleep(late)
	case fails:
		status = http.StatusInternalServerError
	case paysAtGreat:
		padding = strings.Repeat("x", 3*maxResponse/2)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Effect", strconv.Itoa(e.effect))
	w.Header().Set("Set-Cookie", "session="+strconv.Itoa(e.effect))
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"key":%q,"effect":%d,"padding":%q}`, p.Key, e.effect, padding)
}

// ledger returns all dispatches by key, in their order.
func (a *app) ledger() map[string][]entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string][]entry{}
	for _, e := range a.entries {
		out[e.key] = append(out[e.key], e)
	}
	return out
}
