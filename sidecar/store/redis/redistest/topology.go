// SPDX-License-Identifier: Apache-2.0

package redistest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// StartCluster runs a cluster of one server, which owns all slots.
func StartCluster(t testing.TB) *Server {
	t.Helper()
	return StartMasters(t, 1)[0]
}

// StartMasters runs a cluster of n masters, which share the slots evenly.
func StartMasters(t testing.TB, n int) []*Server {
	t.Helper()
	var all []*Server
	for i := range n {
		// Its default, 10000 above the port, may be none.
		_, bus, _ := net.SplitHostPort(FreeAddr(t))
		s := Start(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		s.Do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*16384/n, (i+1)*16384/n-1), "+OK")
		if i > 0 {
			host, port, _ := net.SplitHostPort(s.Addr)
			all[0].Do(fmt.Sprintf("CLUSTER MEET %s %s %s", host, port, bus), "+OK")
		}
		all = append(all, s)
	}
	for _, s := range all {
		s.Await("CLUSTER INFO", "cluster_state:ok")
		s.Await("CLUSTER INFO", fmt.Sprintf("cluster_known_nodes:%d", n))
	}
	return all
}

// StartReplica runs a replica of master, and waits until it has all of it.
func StartReplica(t testing.TB, master *Server) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	s := Start(t, "--replicaof", host+" "+port)
	s.Await("INFO replication", "master_link_status:up")
	return s
}

// StartSentinel runs a sentinel that watches master under the name `main`, and holds it
// for dead after half a second.
func StartSentinel(t testing.TB, master *Server) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.Addr)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := "sentinel monitor main " + host + " " + port + " 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, path: "redis-server", Addr: FreeAddr(t)}
	_, own, _ := net.SplitHostPort(s.Addr)
	s.args = []string{conf, "--sentinel", "--bind", "127.0.0.1", "--port", own}
	s.Restart()
	t.Cleanup(s.Kill)
	return s
}

// Await asks until the reply has want in it.
func (s *Server) Await(command, want string) {
	s.t.Helper()
	last := ""
	for range 3000 {
		if last = s.ask(command); strings.Contains(last, want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%s: in 30 s no reply has %q in it; the last is %q", command, want, last)
}

// Ask returns what a command's reply begins with, without what says its type.
func (s *Server) Ask(command string) string {
	s.t.Helper()
	got := s.ask(command)
	if strings.HasPrefix(got, "$") {
		_, got, _ = strings.Cut(got, "\r\n")
	}
	return strings.TrimLeft(strings.TrimSpace(got), "+:")
}
