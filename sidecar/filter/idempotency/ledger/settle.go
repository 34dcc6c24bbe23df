// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// leftover is a file of notes of a process that is dead. It is locked, so that no
// other settles it too.
type leftover struct {
	file  *os.File
	notes []note
}

// note is what a process has left of one claim.
type note struct {
	state   uint32
	id      record.ID
	owner   record.Owner
	written time.Time
	// rec is the claim, or the final record where captured.
	rec record.Record
}

// leftovers reads the files in dir whose processes are gone.
func leftovers(dir string) ([]leftover, error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []leftover
	for _, name := range names {
		if !strings.HasPrefix(name.Name(), "notes-") || strings.HasSuffix(name.Name(), blobsSuffix) {
			continue
		}
		f, err := readLeftover(filepath.Join(dir, name.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EWOULDBLOCK):
			// Settled by another in the meantime, or its process lives.
		case err != nil:
			return nil, err
		default:
			all = append(all, f)
		}
	}
	return all, nil
}

func readLeftover(path string) (l leftover, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return l, err
	}
	defer func() {
		if err != nil {
			_ = file.Close()
		}
	}()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return l, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return l, err
	}
	blobs, err := os.Open(path + blobsSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	defer func() { _ = blobs.Close() }()
	return leftover{file: file, notes: readNotes(b, blobs, bootID())}, nil
}

// readNotes reads a file of notes. What makes no sense is left out.
func readNotes(b []byte, blobs *os.File, boot string) []note {
	if len(b) < notesHead || string(b[:len(notesMagic)]) != notesMagic {
		return nil
	}
	// Of another life of the machine: what was written last may be missing, so that
	// a claim noted as not dispatched may have been.
	sameLife := boot != "" && string(b[len(notesMagic):][:bootIDLen]) == boot
	var all []note
	for s := b[notesHead:]; len(s) >= slotLen; s = s[slotLen:] {
		n, ok := readNote(s[:slotLen], blobs)
		if ok && (sameLife || n.state != slotClaimed) {
			all = append(all, n)
		}
	}
	return all
}

func readNote(s []byte, blobs *os.File) (n note, ok bool) {
	// As it was written: in the order of the machine.
	n.state = binary.NativeEndian.Uint32(s)
	if n.state == slotFree || n.state > slotCaptured ||
		binary.BigEndian.Uint32(s[atCRC:]) != crc32.ChecksumIEEE(s[atID:atHeaderCRC]) {
		return n, false
	}
	copy(n.id[:], s[atID:])
	copy(n.owner[:], s[atOwner:])
	n.written = time.Unix(0, int64(binary.BigEndian.Uint64(s[atTime:])))
	if n.state == slotClaimed {
		return n, true
	}
	if binary.BigEndian.Uint32(s[atHeaderCRC:]) != crc32.ChecksumIEEE(s[atHeader:atPage]) {
		return n, false
	}
	if n.rec.Decode(s[atHeader:atPage]) != nil || n.rec.Owner != n.owner {
		return n, false
	}
	if n.state == slotCaptured && !readFinal(s, blobs, &n.rec) {
		n.state = slotDispatched
	}
	return n, true
}

// readFinal reads the record that was captured, where it is whole.
func readFinal(s []byte, blobs *os.File, rec *record.Record) bool {
	page, size := binary.BigEndian.Uint32(s[atPage:]), binary.BigEndian.Uint32(s[atLength:])
	if page >= arenaPages || size > arenaPages*pageLen || blobs == nil {
		return false
	}
	b := make([]byte, size)
	if _, err := blobs.ReadAt(b, int64(page)*pageLen); err != nil {
		return false
	}
	var final record.Record
	if crc32.ChecksumIEEE(b) != binary.BigEndian.Uint32(s[atBlobCRC:]) || final.Decode(b) != nil ||
		final.Ref() != rec.Ref() {
		return false
	}
	*rec = final
	return true
}

// settle carries out what a process that died has left, and removes its notes then.
func (l *Ledger) settle(f leftover) {
	var open atomic.Int64
	var failed atomic.Bool
	open.Store(1)
	closed := func(_ record.Answer, err error) {
		if err != nil {
			failed.Store(true)
		}
		if open.Add(-1) > 0 {
			return
		}
		if !failed.Load() {
			_ = os.Remove(f.file.Name() + blobsSuffix)
			_ = os.Remove(f.file.Name())
		}
		_ = f.file.Close()
	}
	now := time.Now()
	for i := range f.notes {
		n := &f.notes[i]
		cmd, ok := n.command(now)
		if !ok {
			continue
		}
		open.Add(1)
		within := settleWithin
		if n.state != slotClaimed {
			within = n.rec.Retention - now.Sub(n.written)
		}
		l.retries.add(&task{id: n.id, cmd: cmd, done: func(answer record.Answer, err error) {
			if err == nil {
				l.settled(n, answer)
			}
			closed(answer, err)
		}}, within)
	}
	closed(record.Answer{}, nil)
}

// settled counts what the store had in the place of what was left.
func (l *Ledger) settled(n *note, answer record.Answer) {
	rec := answer.Record
	switch {
	case answer.Result == record.Lost:
		l.lost(n.id, &n.rec)
	case n.state != slotClaimed && answer.Result == record.Found && rec != nil && rec.Owner != n.owner:
		l.displaced(n.id, &n.rec, rec)
	}
}

// command is what settles a note; false: nothing does.
func (n *note) command(now time.Time) (record.Command, bool) {
	if n.state == slotClaimed {
		return record.Command{Op: record.Release, Ref: record.Ref{Owner: n.owner}}, true
	}
	if now.Sub(n.written) >= n.rec.Retention {
		return record.Command{}, false
	}
	if n.state == slotDispatched {
		// Where it may be dispatched again it is when the lease is over.
		if n.rec.Flags&record.AtLeastOnce != 0 {
			return record.Command{}, false
		}
		n.rec.State = record.Unknown
	}
	return record.Command{Op: record.Finish, Next: &n.rec}, true
}
