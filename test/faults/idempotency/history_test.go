// SPDX-License-Identifier: Apache-2.0

package idempotency

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// history is what all clients have seen.
type history struct {
	start time.Time
	mu    sync.Mutex
	ops   []porcupine.Operation
}

func newHistory() *history { return &history{start: time.Now()} }

func (h *history) record(client int, key string, call func() answer) {
	from := time.Since(h.start)
	out := call()
	op := porcupine.Operation{
		ClientId: client, Input: key, Output: out,
		Call: from.Nanoseconds(), Return: time.Since(h.start).Nanoseconds(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// counts of answers by kind.
func (h *history) counts() map[kind]int {
	out := map[kind]int{}
	for i := range h.ops {
		out[h.ops[i].Output.(answer).kind]++
	}
	return out
}

// model of one key: its state is the final answer that somebody has got, if anybody
// has. Where strict, a key with a final answer gives nothing else; else the store may
// have been away when it was to be kept.
func model(seed uint64, strict bool) porcupine.Model {
	return porcupine.Model{
		Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
			by := map[string][]porcupine.Operation{}
			for _, op := range ops {
				by[op.Input.(string)] = append(by[op.Input.(string)], op)
			}
			var out [][]porcupine.Operation
			for _, ops := range by {
				out = append(out, ops)
			}
			return out
		},
		Init: func() any { return "" },
		Step: func(state, input, output any) (bool, any) {
			known, key, got := state.(string), input.(string), output.(answer)
			switch got.kind {
			case final:
				now := fmt.Sprint(got.status, " ", got.body)
				return known == "" || known == now, now
			case notRetained:
				return behaviourOf(seed, key) == paysAtGreat, state
			case refused:
				return known == "", state
			case inProgress, unknownOutcome:
				return known == "" || !strict, state
			case nothing:
				return true, state
			default:
				return false, state
			}
		},
		DescribeOperation: func(input, output any) string {
			a := output.(answer)
			return fmt.Sprintf("%v: %s %d %.120s", input, a.kind, a.status, a.body)
		},
	}
}

// check fails the test with the first keys whose history no order explains.
func (h *history) check(t *testing.T, seed uint64, strict bool) {
	t.Helper()
	m := model(seed, strict)
	shown := 0
	for _, ops := range m.Partition(h.ops) {
		if porcupine.CheckOperations(m, ops) {
			continue
		}
		if shown++; shown > 3 {
			continue
		}
		t.Errorf("no order explains the history of %v (%s):", ops[0].Input, behaviourOf(seed, ops[0].Input.(string)))
		for _, op := range ops {
			t.Logf("  client %d, %8.3f to %8.3f s: %s", op.ClientId, float64(op.Call)/1e9, float64(op.Return)/1e9, m.DescribeOperation(op.Input, op.Output))
		}
	}
	if shown > 3 {
		t.Errorf("and of %d other keys", shown-3)
	}
}
