// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir.dev/weir/api/podspec"
)

func TestSparedPorts(t *testing.T) {
	for name, tc := range map[string]struct {
		exclude []uint16
		want    []interval
	}{
		"own":       {nil, []interval{{16000, 16001}, {16006, 16006}, {16010, 16099}}},
		"ends":      {[]uint16{65535, 1, 1}, []interval{{1, 1}, {16000, 16001}, {16006, 16006}, {16010, 16099}, {65535, 65535}}},
		"adjacent":  {[]uint16{16002, 16005}, []interval{{16000, 16002}, {16005, 16006}, {16010, 16099}}},
		"own again": {[]uint16{16050}, []interval{{16000, 16001}, {16006, 16006}, {16010, 16099}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, sparedPorts(tc.exclude), cmp.AllowUnexported(interval{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// pod is a network namespace joined to another by a veth pair.
type pod struct {
	t            *testing.T
	inside       string // name of the pod's namespace
	outside      string
	addr4, addr6 string
}

func newPod(t *testing.T) pod {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip of iproute2 is not installed")
	}
	id := fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano()%100000)
	p := pod{t: t, inside: "weir-pod-" + id, outside: "weir-cli-" + id, addr4: "10.99.7.2", addr6: "fd99:7::2"}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	for _, ns := range []string{p.inside, p.outside} {
		ip("netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		ip("-n", ns, "link", "set", "lo", "up")
	}
	ip("-n", p.inside, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", p.outside)
	for ns, addrs := range map[string][]string{p.inside: {p.addr4, p.addr6}, p.outside: {"10.99.7.1", "fd99:7::1"}} {
		ip("-n", ns, "addr", "add", addrs[0]+"/24", "dev", "eth0")
		ip("-n", ns, "addr", "add", addrs[1]+"/64", "dev", "eth0", "nodad")
		ip("-n", ns, "link", "set", "eth0", "up")
	}
	return p
}

// in runs f on a thread in a network namespace; the thread is thrown away.
func (p pod) in(ns string, f func() error) {
	p.t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			fd, err := os.Open("/run/netns/" + ns)
			if err != nil {
				return err
			}
			defer func() { _ = fd.Close() }()
			if err := unix.Setns(int(fd.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	if err := <-done; err != nil {
		p.t.Fatal(err)
	}
}

// serve answers every connection to a port of the pod with a word and the
// address that the connection was made to.
func (p pod) serve(port int, word string) {
	p.t.Helper()
	p.in(p.inside, func() error {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		p.t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprintf(c, "%s %d", word, originalPort(c))
				_ = c.Close()
			}
		}()
		return nil
	})
}

// originalPort is the port of SO_ORIGINAL_DST, 0 without one.
func originalPort(c net.Conn) int {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0
	}
	port := 0
	_ = raw.Control(func(fd uintptr) {
		level := unix.IPPROTO_IP
		if c.LocalAddr().(*net.TCPAddr).IP.To4() == nil {
			level = unix.IPPROTO_IPV6
		}
		const soOriginalDst = 80
		// The port is at the same place in sockaddr_in and sockaddr_in6; this is a
		// call that has room for both.
		if m, err := unix.GetsockoptIPv6MTUInfo(int(fd), level, soOriginalDst); err == nil {
			port = int(m.Addr.Port<<8 | m.Addr.Port>>8)
		}
	})
	return port
}

func (p pod) ask(ns, addr string, port int) string {
	p.t.Helper()
	var got string
	p.in(ns, func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), 5*time.Second)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		b, err := io.ReadAll(c)
		got = string(b)
		return err
	})
	return got
}

func (p pod) apply(c Config) {
	p.t.Helper()
	p.in(p.inside, func() error { return Apply(c) })
}

func TestRedirect(t *testing.T) {
	p := newPod(t)
	p.serve(podspec.PortCapture, "capture")
	p.serve(podspec.PortStatus, "status")
	p.serve(podspec.PortNamedFirst+3, "named")
	p.serve(8080, "app")
	p.serve(9090, "app")
	p.apply(Config{Exclude: []uint16{9090}})

	check := func(t *testing.T, addr string, family string) {
		for name, tc := range map[string]struct {
			from string
			port int
			want string
		}{
			"a port of the app":           {p.outside, 8080, "capture 8080"},
			"a port nobody listens on":    {p.outside, 7777, "capture 7777"},
			"an excluded port":            {p.outside, 9090, "app"},
			"the status port":             {p.outside, podspec.PortStatus, "status"},
			"a port of NamedPort":         {p.outside, podspec.PortNamedFirst + 3, "named"},
			"from inside, by its address": {p.inside, 8080, "app"},
		} {
			t.Run(family+"/"+name, func(t *testing.T) {
				p := p
				p.t = t
				if got := p.ask(tc.from, addr, tc.port); !strings.HasPrefix(got, tc.want) {
					t.Errorf("port %d answered %q, want %q", tc.port, got, tc.want)
				}
			})
		}
	}
	check(t, p.addr4, "IPv4")
	check(t, p.addr6, "IPv6")

	p.serve(8081, "loopback")
	if got := p.ask(p.inside, "127.0.0.1", 8081); !strings.HasPrefix(got, "loopback") {
		t.Errorf("over loopback: %q", got)
	}
}

// The sidecar connects to the operator before the rules are there; what the
// operator sends later must still reach it.
func TestConnectionsOfBeforeGoOn(t *testing.T) {
	for family, addr := range map[string]string{"IPv4": "10.99.7.1", "IPv6": "fd99:7::1"} {
		t.Run(family, func(t *testing.T) {
			p := newPod(t)
			p.serve(podspec.PortCapture, "capture")
			var l net.Listener
			p.in(p.outside, func() (err error) {
				l, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
				return err
			})
			defer l.Close()
			var inside net.Conn
			p.in(p.inside, func() (err error) {
				inside, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
				return err
			})
			defer inside.Close()
			outside, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer outside.Close()
			p.apply(Config{})
			if _, err := io.WriteString(outside, "news"); err != nil {
				t.Fatal(err)
			}
			_ = inside.SetReadDeadline(time.Now().Add(5 * time.Second))
			got := make([]byte, 4)
			if _, err := io.ReadFull(inside, got); err != nil || string(got) != "news" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestApplyReplaces(t *testing.T) {
	p := newPod(t)
	p.serve(podspec.PortCapture, "capture")
	p.serve(8080, "app")
	p.apply(Config{})
	once := p.ruleset()
	p.apply(Config{})
	if d := cmp.Diff(once, p.ruleset()); d != "" {
		t.Errorf("rules after the second call (-first +second):\n%s", d)
	}
	if got := p.ask(p.outside, p.addr4, 8080); !strings.HasPrefix(got, "capture") {
		t.Errorf("got %q, want it captured", got)
	}
	p.apply(Config{Exclude: []uint16{8080}})
	if got := p.ask(p.outside, p.addr4, 8080); !strings.HasPrefix(got, "app") {
		t.Errorf("after the port was excluded: got %q", got)
	}
}

// Rules of others stay.
func TestApplyLeavesOtherTables(t *testing.T) {
	p := newPod(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("nft of nftables is not installed")
	}
	p.in(p.inside, func() error { return exec.Command("nft", "add", "table", "inet", "other").Run() })
	p.apply(Config{})
	if got := p.ruleset(); !strings.Contains(got, "table inet other") {
		t.Errorf("the other table is gone:\n%s", got)
	}
}

func (p pod) ruleset() string {
	p.t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		p.t.Skip("nft of nftables is not installed")
	}
	var out []byte
	p.in(p.inside, func() (err error) {
		out, err = exec.Command("nft", "list", "ruleset").CombinedOutput()
		return err
	})
	return string(out)
}

// Without NET_ADMIN the error says what to do. The capability is dropped on the
// thread alone.
func TestApplyWithoutNetAdmin(t *testing.T) {
	p := newPod(t)
	p.in(p.inside, func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			return err
		}
		err := Apply(Config{})
		if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "NET_ADMIN") {
			return fmt.Errorf("got %w, want %w", err, ErrPermission)
		}
		return nil
	})
}

func TestExplain(t *testing.T) {
	for name, tc := range map[string]struct {
		in, want error
	}{
		"none":        {nil, nil},
		"permission":  {unix.EPERM, ErrPermission},
		"no netlink":  {unix.EPROTONOSUPPORT, ErrUnsupported},
		"no redirect": {unix.ENOENT, ErrUnsupported},
		"other":       {unix.ENOBUFS, unix.ENOBUFS},
	} {
		t.Run(name, func(t *testing.T) {
			if got := explain(tc.in); !errors.Is(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
