// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir.dev/weir/sidecar/wire/http"
)

// errLoop is a connection that was made to the listener itself.
var errLoop = errors.New("its destination is the capture listener itself, not a port of the pod")

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h and
// IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h.
const soOriginalDst = 80

// Original sends each connection to where it was going before nftables redirected
// it: the pod address and port that the client had dialled.
func Original() Route { return route(originalDst) }

// route turns a lookup of the original destination into a Route.
func route(lookup func(*net.TCPConn) (netip.AddrPort, error)) Route {
	return func(c *net.TCPConn) (http.Target, error) {
		dst, err := lookup(c)
		if err != nil {
			return http.Target{}, fmt.Errorf("its original destination is not known: %w", err)
		}
		local, ok := c.LocalAddr().(*net.TCPAddr)
		// The port alone decides: every address of the pod leads back to us.
		if !ok || int(dst.Port()) == local.Port || dst.Port() == 0 {
			return http.Target{}, errLoop
		}
		return http.Target{Port: dst.Port(), Upstream: dst.String()}, nil
	}
}

func originalDst(c *net.TCPConn) (netip.AddrPort, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	peer, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, errors.New("not a TCP connection")
	}
	var dst netip.AddrPort
	var optErr error
	err = raw.Control(func(fd uintptr) {
		if peer.AddrPort().Addr().Unmap().Is4() {
			dst, optErr = original4(int(fd))
		} else {
			dst, optErr = original6(int(fd))
		}
	})
	return dst, errors.Join(err, optErr)
}

// original4 reads a sockaddr_in through an option value that is large enough.
func original4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := m.Multiaddr[:]
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4])), nil
}

// original6 reads a sockaddr_in6 likewise.
func original6(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, soOriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	// The port lies in network order whatever the machine's is.
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&m.Addr.Port))[:])
	return netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr).Unmap(), port), nil
}
