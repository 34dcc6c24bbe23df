// SPDX-License-Identifier: Apache-2.0

//go:build linux

package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Times that waits are bounded by.
const (
	startTimeout = 20 * time.Second
	stopTimeout  = 5 * time.Second
)

// Command is what to start.
type Command struct {
	Name string
	Core int
	Args []string
	Env  []string
	// Log is the file for what it prints. With CountOutput its standard output is
	// read through a pipe and its lines are counted, as a container runtime would
	// read it.
	Log         string
	CountOutput bool
	// Address is where it listens once it is up.
	Address string
}

// Process runs, pinned to a core.
type Process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	lines lineCounter
	ended chan struct{}
}

// Start starts c and waits until it listens. The calling thread has to live as
// long as the process shall: the process is told to end when that thread does.
func Start(ctx context.Context, c Command) (*Process, error) {
	log, err := os.Create(c.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &Process{
		name:  c.Name,
		cmd:   exec.Command("taskset", append([]string{"-c", strconv.Itoa(c.Core)}, c.Args...)...),
		log:   c.Log,
		ended: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if c.CountOutput {
		p.cmd.Stdout = &p.lines
	}
	// A group of its own: an interrupt from the terminal reaches only us, who end it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	if err := p.await(ctx, c.Address); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Process) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended as soon as it was started: %s", p.name, p.lastLine())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w", p.name, address, errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lastLine is the end of what it has printed.
func (p *Process) lastLine() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}

// Lines is how many lines it has printed, under CountOutput.
func (p *Process) Lines() int64 { return p.lines.n.Load() }

// Stop ends the process and waits for it.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return
	case <-time.After(stopTimeout):
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}

type lineCounter struct{ n atomic.Int64 }

func (l *lineCounter) Write(b []byte) (int, error) {
	l.n.Add(int64(bytes.Count(b, []byte{'\n'})))
	return len(b), nil
}

// Pin binds all threads of this process, and what it starts from now on, to core.
func Pin(core int) error {
	var set unix.CPUSet
	set.Set(core)
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(filepath.Base(t))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pin a thread to core %d: %w", core, err)
		}
	}
	return nil
}

// OpenFiles raises the limit of open files as far as it goes, for children too,
// and returns it.
func OpenFiles() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	l.Cur = l.Max
	// syscall, not unix: the runtime then hands the limit on to children.
	return l.Cur, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// Lock lets one benchmark run at a time. Another that runs is waited for until ctx
// ends. The returned function gives the lock up.
func Lock(ctx context.Context, file string) (func(), error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", file, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another benchmark holds %s: %w", file, ctx.Err())
		case <-time.After(time.Second):
		}
	}
}
