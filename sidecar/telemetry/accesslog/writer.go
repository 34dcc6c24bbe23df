// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"weir.dev/weir/sidecar/exchange"
)

const (
	// maxBuffer bounds the lines that wait, in bytes. While as much is being
	// written, as much again may wait.
	maxBuffer = 512 << 10
	// batch is how much is worth a write of its own: half of what a pipe holds, so
	// that the write does not wait for the reader, and little enough to stay in the
	// processor's cache.
	batch = 32 << 10
	// keptBuffer is what stays allocated from one write to the next: a batch, and
	// what comes until it is taken.
	keptBuffer = 64 << 10
	// gather is how long the first line waits for a batch, so that a sidecar with
	// little to do writes a few times a second, not once for each request.
	gather = 50 * time.Millisecond
	// sayEvery is the least time between two lines of the log about dropped ones.
	sayEvery = time.Minute
)

// Options of a Writer.
type Options struct {
	// Out gets whole lines, many in one call, from one goroutine.
	Out io.Writer
	// Dropped counts lines that Out will not get.
	Dropped func(n int)
	Log     *slog.Logger
}

// Writer takes lines and never waits. Its goroutine starts with the first line.
// Safe for concurrent use.
type Writer struct {
	opts    Options
	lines   sync.Pool
	wake    chan struct{}
	closing chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	buf     []byte
	count   int // lines in buf
	started bool
	closed  bool
	dropped int // since the log has said so
}

// NewWriter starts nothing yet.
func NewWriter(opts Options) *Writer {
	return &Writer{opts: opts, wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
}

// write appends the line of an exchange to the buffer.
func (w *Writer) write(x *exchange.Exchange, r *exchange.Record) {
	p, _ := w.lines.Get().(*[]byte)
	if p == nil {
		p = new([]byte)
		*p = make([]byte, 0, 1024)
	}
	line := appendEntry((*p)[:0], x, r)
	w.push(line)
	*p = line
	w.lines.Put(p)
}

func (w *Writer) push(line []byte) {
	w.mu.Lock()
	before := len(w.buf)
	fits := !w.closed && before+len(line) <= maxBuffer
	if fits {
		w.buf = append(w.buf, line...)
		w.count++
		if !w.started {
			w.started = true
			go w.run()
		}
	} else {
		w.dropped++
	}
	w.mu.Unlock()
	if !fits {
		w.opts.Dropped(1)
		return
	}
	// Awake at the first line, and again when there is a batch.
	if after := before + len(line); before == 0 || before < batch && after >= batch {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Close writes what waits, as long as ctx allows. Lines that come later are
// dropped.
func (w *Writer) Close(ctx context.Context) {
	w.mu.Lock()
	was, started := w.closed, w.started
	w.closed = true
	w.mu.Unlock()
	if !was {
		close(w.closing)
	}
	if !started {
		return
	}
	select {
	case <-w.done:
	case <-ctx.Done():
	}
}

func (w *Writer) run() {
	defer close(w.done)
	var spare []byte
	var said time.Time
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for {
		closing := w.await(timer)
		buf, count, dropped := w.swap(spare, time.Since(said) >= sayEvery)
		if dropped > 0 {
			said = time.Now()
			w.opts.Log.Warn("access log lines were dropped: whoever reads the sidecar's output does not keep up", "lines", dropped)
		}
		if len(buf) > 0 {
			if _, err := w.opts.Out.Write(buf); err != nil {
				w.lost(count)
			}
		}
		spare = buf[:0]
		if cap(spare) > keptBuffer {
			spare = nil
		}
		if closing && len(buf) == 0 {
			return
		}
	}
}

// await waits for a line, and then a little for a batch. It reports whether the
// writer is being closed.
func (w *Writer) await(timer *time.Timer) (closing bool) {
	select {
	case <-w.closing:
		return true
	case <-w.wake:
	}
	timer.Reset(gather)
	for !w.full() {
		select {
		case <-w.closing:
			return true
		case <-timer.C:
			return false
		case <-w.wake:
		}
	}
	return false
}

// full reports whether a batch waits.
func (w *Writer) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.buf) >= batch
}

// swap takes the buffer, leaving spare in its place, and the number of dropped
// lines when it is to be said.
func (w *Writer) swap(spare []byte, say bool) (buf []byte, count, dropped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf, count = w.buf, w.count
	w.buf, w.count = spare, 0
	if say {
		dropped, w.dropped = w.dropped, 0
	}
	return buf, count, dropped
}

func (w *Writer) lost(n int) {
	w.opts.Dropped(n)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped += n
}
