// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// startLimit is how long a program may take until it can be reached.
	startLimit = 60 * time.Second
	// callLimit is how long a client may take for all its tests.
	callLimit = 120 * time.Second
)

// process is a program that runs in the background.
type process struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
}

// output is what a program has written, of which another goroutine may read.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(ctx context.Context, c command) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, c.args[0], c.args[1:]...), out: &output{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.dir, p.out, p.out
	p.cmd.Env = append(os.Environ(), c.env...)
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// until waits for a condition while the program runs.
func (p *process) until(ctx context.Context, what string, ready func() bool) error {
	deadline := time.NewTimer(startLimit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return fmt.Errorf("%s ended instead of serving:\n%s", what, p.out)
		case <-deadline.C:
			return fmt.Errorf("%s cannot be reached after %s:\n%s", what, startLimit, p.out)
		}
	}
	return nil
}

// freePort is one that nobody listened at a moment ago.
func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// serve starts a server and waits until it accepts. Somebody else may take its port in
// between, and then it gets another.
func serve(ctx context.Context, l *language, f form) (*process, int, error) {
	var err error
	for range 3 {
		var port int
		if port, err = freePort(); err != nil {
			return nil, 0, err
		}
		var p *process
		if p, err = start(ctx, l.serve(f, port)); err != nil {
			return nil, 0, err
		}
		if err = p.until(ctx, l.name+"'s server", func() bool { return accepts(port) }); err == nil {
			return p, port, nil
		}
		p.stop()
	}
	return nil, 0, err
}

func accepts(port int) bool {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// call runs a client to its end. What it returns is "" if all passed, else the exit code
// and what failed.
func call(ctx context.Context, l *language, f form, port int) (outcome, log string) {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	p, err := start(limited, l.call(f, port))
	if err != nil {
		return err.Error(), ""
	}
	<-p.done
	log = p.out.String()
	code := p.cmd.ProcessState.ExitCode()
	failed := l.failures(log)
	switch {
	case errors.Is(limited.Err(), context.DeadlineExceeded):
		return "hangs", log
	case code == 0 && len(failed) == 0:
		return "", log
	}
	return strings.TrimSpace(fmt.Sprintf("exit %d %s", code, strings.Join(failed, ", "))), log
}
