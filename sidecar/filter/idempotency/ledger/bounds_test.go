// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"os"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// TestArena: no page is given twice, and what was given back is found again.
func TestArena(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a arena
		owner := map[int]int{}
		var runs []run
		for i := range 60 {
			if len(runs) > 0 && rapid.Bool().Draw(t, "give") {
				at := rapid.IntRange(0, len(runs)-1).Draw(t, "run")
				for p := runs[at].from; p < runs[at].from+runs[at].n; p++ {
					delete(owner, p)
				}
				a.give(runs[at])
				runs = append(runs[:at], runs[at+1:]...)
				continue
			}
			size := rapid.SampledFrom([]int{1, pageLen, pageLen + 1, 70 * pageLen, arenaPages * pageLen / 3}).Draw(t, "size")
			r, ok := a.take(size)
			if !ok {
				continue
			}
			if r.n*pageLen < size || r.from+r.n > arenaPages {
				t.Fatalf("%+v for %d bytes", r, size)
			}
			for p := r.from; p < r.from+r.n; p++ {
				if by, used := owner[p]; used {
					t.Fatalf("page %d is given to %d and %d", p, by, i)
				}
				owner[p] = i
			}
			runs = append(runs, r)
		}
		for _, r := range runs {
			a.give(r)
		}
		if _, ok := a.take(arenaPages * pageLen); !ok {
			t.Fatal("pages are lost")
		}
	})
}

func TestCacheBounds(t *testing.T) {
	var c cache
	room := 1 << 20
	c.init(room)
	later := time.Now().Add(time.Hour)
	put := func(i, size int) {
		c.put(&entry{id: record.ID{byte(i), byte(i), byte(i >> 8)}, plain: make([]byte, size)}, later)
	}
	for i := range 5000 {
		put(i, i)
		put(i, 10*i)
	}
	used := 0
	for i := range c.parts {
		p := &c.parts[i]
		sum := 0
		for at := p.recent.Front(); at != nil; at = at.Next() {
			sum += at.Value.(*entry).size()
		}
		if sum != p.used || len(p.index) != p.recent.Len() {
			t.Errorf("%d bytes are counted as %d", sum, p.used)
		}
		used += sum
	}
	if used > room || used < room/4 {
		t.Errorf("%d bytes are used of %d", used, room)
	}
}

// FuzzNotes: whatever a file of notes holds, it is read.
func FuzzNotes(f *testing.F) {
	n, _, err := openNotes(f.TempDir(), [8]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	defer n.close()
	rec := &record.Record{State: record.Inflight, Fence: 1, Lease: time.Second, Retention: time.Hour}
	i := n.claim(record.ID{1}, rec)
	n.dispatch(i, rec)
	n.capture(i, rec)
	b, err := os.ReadFile(n.file.Name())
	if err != nil {
		f.Fatal(err)
	}
	slot := b[notesHead+i*slotLen:][:slotLen]
	f.Add(slot)
	f.Fuzz(func(t *testing.T, slot []byte) {
		head := append([]byte(nil), b[:notesHead]...)
		for _, note := range readNotes(append(head, slot...), n.blobs, bootID()) {
			if note.state < slotClaimed || note.state > slotCaptured {
				t.Errorf("%+v", note)
			}
			_, _ = note.command(time.Now())
		}
	})
}
