// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"weir.dev/weir/sidecar/filter/idempotency/record"
)

// A file of notes is a head and as many slots as claims can be open. It is mapped, so
// that a note costs no system call, and survives the process; that it survives the
// machine is not tried. All numbers are big-endian but a slot's state, which is in the
// order of the machine, and written last, at once.
//
//	head: magic 8 bytes, boot ID of the machine 36 bytes
//	slot:  0 state u32    4 crc u32 of 8..48, of which nothing changes
//	       8 id 16       24 owner 16         40 written at, ns since 1970 u64
//	      48 crc u32 of 56..152              56 header of the record, as claimed
//	     152 page u32   156 length u32      160 crc u32 of the final record
//
// Final records are in a second file, in pages.
const (
	notesMagic = "weirnot1"
	notesHead  = 4096
	slotLen    = 192
	slots      = 4096
	bootIDLen  = 36

	atCRC, atID, atOwner, atTime = 4, 8, 24, 40
	atHeaderCRC, atHeader        = 48, 56
	atPage                       = atHeader + record.HeaderLen
	atLength, atBlobCRC          = atPage + 4, atPage + 8
)

// States of a slot.
const (
	slotFree uint32 = iota
	slotClaimed
	slotDispatched
	slotCaptured
)

// noNote is a claim without a note: there is no directory, or it is full.
const noNote = -1

// notes are what this process leaves behind when it dies. A nil *notes keeps none.
type notes struct {
	dir   string
	file  *os.File
	blobs *os.File
	// live is held for reading by who uses mem. A slot is its claim's alone: writing it
	// may have to wait for the disk, and nobody else with it.
	live sync.RWMutex
	mem  []byte
	gone bool

	mu     sync.Mutex
	unused []int32
	arena  arena
	// pages that a slot has in the arena.
	pages [slots]run
	// buffers are *[]byte that records are put together in.
	buffers sync.Pool
}

func notePath(dir string, process [8]byte) string {
	return filepath.Join(dir, "notes-"+hex.EncodeToString(process[:]))
}

const blobsSuffix = ".records"

// openNotes makes a file of notes in dir, and returns what other processes, which are
// dead, have left there.
func openNotes(dir string, process [8]byte) (*notes, []leftover, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the directory of idempotency notes: %w", err)
	}
	left, err := leftovers(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("reading idempotency notes: %w", err)
	}
	n := &notes{dir: dir}
	if err := n.create(notePath(dir, process)); err != nil {
		n.close()
		return nil, nil, fmt.Errorf("making idempotency notes: %w", err)
	}
	for i := slots - 1; i >= 0; i-- {
		n.unused = append(n.unused, int32(i))
	}
	return n, left, nil
}

func (n *notes) create(path string) error {
	var err error
	if n.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	if err := syscall.Flock(int(n.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	// Written, not only made that long: a page that found no room when it is first
	// written to would end the process.
	zero := make([]byte, notesHead+slots*slotLen)
	copy(zero[len(notesMagic):], bootID())
	copy(zero, notesMagic)
	if _, err := n.file.WriteAt(zero, 0); err != nil {
		return err
	}
	if n.mem, err = syscall.Mmap(int(n.file.Fd()), 0, len(zero), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		return err
	}
	n.blobs, err = os.OpenFile(path+blobsSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

// bootID tells two lives of the machine apart; empty where that cannot be told.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || len(b) < bootIDLen {
		return ""
	}
	return string(b[:bootIDLen])
}

// close leaves open notes to the next process, and no file where there are none.
func (n *notes) close() {
	if n == nil {
		return
	}
	n.live.Lock()
	defer n.live.Unlock()
	if n.gone {
		return
	}
	n.gone = true
	if n.mem != nil {
		_ = syscall.Munmap(n.mem)
		n.mem = nil
	}
	if n.file == nil {
		return
	}
	if len(n.unused) == slots {
		_ = os.Remove(n.file.Name() + blobsSuffix)
		_ = os.Remove(n.file.Name())
	}
	_ = n.file.Close()
	if n.blobs != nil {
		_ = n.blobs.Close()
	}
}

func (n *notes) slot(i int) []byte {
	return n.mem[notesHead+i*slotLen:][:slotLen:slotLen]
}

func setState(slot []byte, state uint32) {
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&slot[0])), state)
}

// claim notes that rec is about to be claimed.
func (n *notes) claim(id record.ID, rec *record.Record) int {
	if n == nil {
		return noNote
	}
	n.live.RLock()
	defer n.live.RUnlock()
	if n.gone {
		return noNote
	}
	i := n.take()
	if i == noNote {
		return noNote
	}
	s := n.slot(i)
	copy(s[atID:], id[:])
	copy(s[atOwner:], rec.Owner[:])
	binary.BigEndian.PutUint64(s[atTime:], uint64(time.Now().UnixNano()))
	binary.BigEndian.PutUint32(s[atCRC:], crc32.ChecksumIEEE(s[atID:atHeaderCRC]))
	setState(s, slotClaimed)
	return i
}

func (n *notes) take() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.unused) == 0 {
		return noNote
	}
	i := int(n.unused[len(n.unused)-1])
	n.unused = n.unused[:len(n.unused)-1]
	return i
}

// dispatch notes that the claim is about to be executed.
func (n *notes) dispatch(i int, rec *record.Record) {
	if n == nil || i == noNote {
		return
	}
	n.live.RLock()
	defer n.live.RUnlock()
	if n.gone {
		return
	}
	s := n.slot(i)
	h := s[atHeader:atPage]
	rec.PutHeader((*[record.HeaderLen]byte)(h))
	binary.BigEndian.PutUint32(s[atHeaderCRC:], crc32.ChecksumIEEE(h))
	setState(s, slotDispatched)
}

// capture keeps a final record until it is stored. Where it cannot, what a crash
// leaves is as if there were none yet.
func (n *notes) capture(i int, final *record.Record) {
	if n == nil || i == noNote {
		return
	}
	n.live.RLock()
	defer n.live.RUnlock()
	size := record.HeaderLen + len(final.Payload)
	if n.gone || !n.pagesFor(i, size) {
		return
	}
	buf, _ := n.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer n.buffers.Put(buf)
	b := final.Append((*buf)[:0])
	*buf = b
	page := n.pages[i].from
	if _, err := n.blobs.WriteAt(b, int64(page)*pageLen); err != nil {
		return
	}
	s := n.slot(i)
	binary.BigEndian.PutUint32(s[atPage:], uint32(page))
	binary.BigEndian.PutUint32(s[atLength:], uint32(size))
	binary.BigEndian.PutUint32(s[atBlobCRC:], crc32.ChecksumIEEE(b))
	setState(s, slotCaptured)
}

func (n *notes) pagesFor(i, size int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pages[i].n > 0 {
		return false
	}
	at, ok := n.arena.take(size)
	n.pages[i] = at
	return ok
}

// free forgets a claim that is settled.
func (n *notes) free(i int) {
	if n == nil || i == noNote {
		return
	}
	n.live.RLock()
	defer n.live.RUnlock()
	if n.gone {
		return
	}
	setState(n.slot(i), slotFree)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.arena.give(n.pages[i])
	n.pages[i] = run{}
	n.unused = append(n.unused, int32(i))
}
