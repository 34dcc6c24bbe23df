// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"errors"
	"testing"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// sealer is a Sealer that is no secret.
type sealer byte

func (s sealer) Seal(dst []byte, id record.ID, plain []byte) []byte {
	dst = append(dst, byte(s), id[0])
	for _, b := range plain {
		dst = append(dst, b^0x55)
	}
	return dst
}

func (s sealer) Open(dst []byte, id record.ID, sealed []byte) ([]byte, error) {
	if len(sealed) < 2 || sealed[0] != byte(s) || sealed[1] != id[0] {
		return nil, errors.New("another key")
	}
	for _, b := range sealed[2:] {
		dst = append(dst, b^0x55)
	}
	return dst, nil
}

// TestSealed: with the key gone what was executed is not executed again.
func TestSealed(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.terms.Sealer = sealer(1)
		a, b := w.ledger(notCached), w.ledger(notCached)
		defer a.Close()
		defer b.Close()
		w.complete(w.claim(a, 1), "secret")
		w.same(w.want(b.Begin(t.Context(), w.call(1)), Replay).Reply, reply("secret"))
		for name, s := range map[string]Sealer{"another key": sealer(2), "no key": nil} {
			w.terms.Sealer = s
			res := w.want(b.Begin(t.Context(), w.call(1)), NotRetained)
			if res.Reply.Status != 201 {
				t.Errorf("%s: status %d", name, res.Reply.Status)
			}
		}
	})
}
