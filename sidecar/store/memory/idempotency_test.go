// SPDX-License-Identifier: Apache-2.0

package memory

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/filter/idempotency/record/recordtest"
)

func TestRecordsContract(t *testing.T) {
	r := NewRecords(RecordOptions{})
	t.Cleanup(r.Close)
	recordtest.Run(t, r)
}

func recordClaim(owner byte) *record.Record {
	return &record.Record{State: record.Inflight, Owner: record.Owner{owner}, Lease: time.Second, Retention: time.Hour}
}

// TestRecordsFull: what is promised is kept, and what is claimed can be finished.
func TestRecordsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRecords(RecordOptions{MaxBytes: 2 * recordCost})
		defer r.Close()
		claims := map[byte]*record.Record{}
		for i := range byte(2) {
			claims[i] = recordClaim(i)
			if a, err := r.Do(t.Context(), record.ID{i}, record.Command{Op: record.Begin, Next: claims[i]}); err != nil || a.Result != record.Applied {
				t.Fatal(a, err)
			}
		}
		third := record.Command{Op: record.Begin, Next: recordClaim(2)}
		if _, err := r.Do(t.Context(), record.ID{2}, third); !errors.Is(err, record.ErrUnavailable) {
			t.Errorf("a claim beyond the bound: %v", err)
		}
		final := *claims[0]
		final.State, final.Payload = record.Complete, make([]byte, 5000)
		if a, err := r.Do(t.Context(), record.ID{0}, record.Command{Op: record.Finish, Next: &final}); err != nil || a.Result != record.Applied {
			t.Errorf("a claim cannot be finished: %+v, %v", a, err)
		}
		time.Sleep(time.Hour)
		if a, err := r.Do(t.Context(), record.ID{2}, third); err != nil || a.Result != record.Applied {
			t.Errorf("after the retention: %+v, %v", a, err)
		}
		if got := r.Bytes(); got != recordCost {
			t.Errorf("%d bytes, want %d", got, recordCost)
		}
	})
}
