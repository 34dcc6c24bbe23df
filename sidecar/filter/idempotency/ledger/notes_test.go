// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
	"weir.dev/weir/sidecar/store/memory"
)

// die leaves l as a kill of its process would: nothing more reaches the store, and
// its locks are gone.
func die(l *Ledger) {
	l.cancel()
	l.wg.Wait()
	_ = syscall.Munmap(l.notes.mem)
	_ = l.notes.file.Close()
	_ = l.notes.blobs.Close()
	l.notes.gone = true
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestNotes: what a process that was killed has left is settled by the next.
func TestNotes(t *testing.T) {
	for name, test := range map[string]struct {
		atLeastOnce bool
		leave       func(*world, *Claim)
		want        Kind
	}{
		"claimed":                   {false, func(*world, *Claim) {}, Claimed},
		"dispatched, at most once":  {false, func(_ *world, c *Claim) { c.Dispatch() }, Unknown},
		"dispatched, at least once": {true, func(_ *world, c *Claim) { c.Dispatch() }, InFlight},
		"overdue":                   {false, func(w *world, c *Claim) { c.Dispatch(); c.Overdue(w.t.Context()) }, Unknown},
		"captured": {false, func(w *world, c *Claim) {
			c.Dispatch()
			w.store.away.Store(true)
			c.Complete(w.t.Context(), reply(strings.Repeat("body", 5000)))
		}, Replay},
		"captured and sealed": {false, func(w *world, c *Claim) {
			w.terms.Sealer = sealer(3)
			c.Dispatch()
			w.store.away.Store(true)
			c.Complete(w.t.Context(), reply("secret"))
		}, Replay},
		"complete": {false, func(w *world, c *Claim) { w.complete(c, "x") }, Replay},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "notes")
			inWorld(t, func(w *world) {
				t := w.t
				w.terms.Wait, w.terms.AtLeastOnce = 0, test.atLeastOnce
				noted := func(o *Options) { o.Notes, o.CacheBytes = dir, -1 }
				a := w.ledger(noted)
				test.leave(w, w.claim(a, 1))
				w.store.away.Store(true)
				die(a)
				for _, f := range files(t, dir) {
					if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte("secret")) {
						t.Errorf("%s holds what is sealed (%v)", f, err)
					}
				}
				// The next cannot reach the store at once.
				b := w.ledger(noted)
				time.Sleep(3 * time.Second)
				w.store.away.Store(false)
				time.Sleep(3 * time.Second)
				res := w.want(b.Begin(t.Context(), w.call(1)), test.want)
				if res.Claim != nil {
					res.Claim.End()
					time.Sleep(time.Second)
				}
				if n := b.Unsettled(); n != 0 {
					t.Errorf("%d are not settled", n)
				}
				b.Close()
				if left := files(t, dir); len(left) != 0 {
					t.Errorf("%v is left", left)
				}
			})
		})
	}
}

// TestNotesOfTheLiving are not touched.
func TestNotesOfTheLiving(t *testing.T) {
	dir := t.TempDir()
	inWorld(t, func(w *world) {
		w.terms.Wait = 0
		noted := func(o *Options) { o.Notes = dir }
		a := w.ledger(noted)
		defer a.Close()
		c := w.claim(a, 1)
		b := w.ledger(noted)
		time.Sleep(5 * time.Second)
		w.want(b.Begin(w.t.Context(), w.call(1)), InFlight)
		b.Close()
		w.complete(c, "x")
	})
}

// TestNotesOfAnotherLife: after a crash of the machine a note may lag behind.
func TestNotesOfAnotherLife(t *testing.T) {
	dir := t.TempDir()
	n, _, err := openNotes(dir, [8]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	rec := &record.Record{State: record.Inflight, Owner: record.Owner{5}, Lease: time.Second, Retention: time.Hour}
	n.claim(record.ID{1}, rec)
	rec.Fence = 7
	n.dispatch(n.claim(record.ID{2}, rec), rec)
	b, err := os.ReadFile(n.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if got := readNotes(b, n.blobs, bootID()); len(got) != 2 {
		t.Errorf("%d notes of the same life, want 2", len(got))
	}
	if got := readNotes(b, n.blobs, "another"); len(got) != 1 || got[0].state != slotDispatched {
		t.Errorf("of another life: %+v, want the dispatched one", got)
	}
}

// TestNotesFull: claims go on without.
func TestNotesFull(t *testing.T) {
	n, _, err := openNotes(t.TempDir(), [8]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	rec := &record.Record{State: record.Inflight, Retention: time.Hour}
	for i := range slots {
		if got := n.claim(record.ID{}, rec); got == noNote {
			t.Fatalf("no room for claim %d", i)
		}
	}
	got := n.claim(record.ID{}, rec)
	if got != noNote {
		t.Errorf("slot %d, want none", got)
	}
	n.dispatch(got, rec)
	n.capture(got, rec)
	n.free(got)
	n.free(3)
	if got := n.claim(record.ID{}, rec); got != 3 {
		t.Errorf("slot %d, want 3", got)
	}
}

// TestKilled is TestNotes with a process that is really killed.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("WEIR_TEST_NOTES"); dir != "" {
		killed(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "WEIR_TEST_NOTES="+dir)
	if err := cmd.Run(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the process was not killed: %v", err)
	}
	left, err := leftovers(dir)
	if err != nil || len(left) != 1 {
		t.Fatalf("%d files, %v", len(left), err)
	}
	defer func() { _ = left[0].file.Close() }()
	got := map[record.ID]uint32{}
	for _, n := range left[0].notes {
		got[n.id] = n.state
	}
	want := map[record.ID]uint32{{1}: slotClaimed, {2}: slotDispatched, {3}: slotCaptured}
	for id, state := range want {
		if got[id] != state {
			t.Errorf("note %x: state %d, want %d", id[0], got[id], state)
		}
	}
	if len(got) != len(want) {
		t.Errorf("notes %v", got)
	}
}

func killed(t *testing.T, dir string) {
	m := memory.NewRecords(memory.RecordOptions{})
	w := &world{t: t, store: &flaky{Store: m}, terms: Terms{Lease: time.Minute, Retention: time.Hour}}
	l := w.ledger(func(o *Options) { o.Notes, o.Patience = dir, time.Millisecond })
	w.claim(l, 1)
	w.claim(l, 2).Dispatch()
	third, fourth := w.claim(l, 3), w.claim(l, 4)
	third.Dispatch()
	w.complete(fourth, "x")
	w.store.away.Store(true)
	third.Complete(t.Context(), reply("x"))
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	_ = self.Kill()
	select {}
}
