// SPDX-License-Identifier: Apache-2.0

// Package redistest starts real Redis servers for tests: one process on a free
// port of the loopback, gone with the test. It is imported by tests only.
package redistest

import (
	"bytes"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Server is a redis-server that a test owns.
type Server struct {
	// Addr is host:port, the same after a restart.
	Addr string

	t    testing.TB
	path string
	args []string
	cmd  *exec.Cmd
}

// Start runs a server with further arguments, such as `--requirepass`, `x`. In an
// argument `PORT` stands for the port.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, "redis-server", args...)
}

// StartWith runs another executable of Redis or Valkey.
func StartWith(t testing.TB, path string, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("install %s: this test needs a real server", path)
	}
	s := &Server{t: t, path: path, Addr: FreeAddr(t)}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.args = []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir()}
	for _, a := range args {
		s.args = append(s.args, strings.ReplaceAll(a, "PORT", port))
	}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// Do sends an inline command and fails the test when the reply does not begin with
// want.
func (s *Server) Do(command, want string) {
	s.t.Helper()
	if got := s.ask(command); !strings.HasPrefix(got, want) {
		s.t.Fatalf("%s: %q, want %q", command, got, want)
	}
}

// ask returns the first bytes of a reply.
func (s *Server) ask(command string) string {
	c, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write([]byte(command + "\r\n")); err != nil {
		return err.Error()
	}
	reply := make([]byte, 1024)
	n, _ := c.Read(reply)
	return string(reply[:n])
}

// FreeAddr returns an address of the loopback on which nobody listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Restart starts the server, which must not run, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	var out bytes.Buffer
	s.cmd = exec.Command(s.path, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 500 {
		if answers(s.Addr) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.Kill()
	s.t.Fatalf("redis-server does not answer on %s:\n%s", s.Addr, out.String())
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// Hang stops the server without closing its connections, until Resume.
func (s *Server) Hang() { s.signal(syscall.SIGSTOP) }

// Resume ends Hang.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// answers reports whether a server speaks on addr: also one that wants a password
// or TLS first does, by its way of refusing.
func answers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	reply := make([]byte, 64)
	n, err := c.Read(reply)
	return err != nil || !strings.HasPrefix(string(reply[:n]), "-LOADING")
}
