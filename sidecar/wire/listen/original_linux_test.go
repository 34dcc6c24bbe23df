// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"weir.dev/weir/sidecar/wire/http"
)

const inNamespace = "WEIR_TEST_NETNS"

// TestOriginalRedirected has nftables redirect connections, in a network
// namespace of its own, and asks where they were going.
func TestOriginalRedirected(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		runInNamespace(t)
		return
	}
	rules := `table inet t {
		chain out { type nat hook output priority -100; policy accept; tcp dport 8080 redirect to :16006; }
	}`
	for _, args := range [][]string{{"ip", "link", "set", "lo", "up"}, {"nft", rules}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	ln, err := net.Listen("tcp", ":16006")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for dst, want := range map[string]string{"127.0.0.7:8080": "127.0.0.7:8080", "[::1]:8080": "[::1]:8080"} {
		c := dial(t, dst)
		accepted, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Original()(accepted.(*net.TCPConn))
		if want := (http.Target{Port: 8080, Upstream: want}); got != want || err != nil {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
		_ = accepted.Close()
		_ = c.Close()
	}
}

func runInNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"unshare", "nft", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		t.Skipf("no network namespaces here: %v: %s", err, out)
	}
	cmd := exec.Command("unshare", "-n", os.Args[0], "-test.run=^TestOriginalRedirected$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("in the namespace: %v\n%s", err, out)
	}
}
