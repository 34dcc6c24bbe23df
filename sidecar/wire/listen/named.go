// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"
	"net"
	"net/netip"

	"weir.dev/weir/sidecar/wire/http"
)

// NamedBase is the first port of capture NamedPort: the sidecar takes the n-th
// port name of the application on NamedBase+n.
const NamedBase = 16010

// Named sends connections to the container port of the application that they
// would have gone to, at the pod's address: an application that listens on
// loopback only stays unpublished.
func Named(pod netip.Addr, port uint16) (Route, error) {
	if !pod.IsValid() || pod.IsLoopback() || pod.IsUnspecified() || port == 0 {
		return nil, fmt.Errorf("%v is not the address of a pod, or %d not a port", pod, port)
	}
	target := http.Target{Port: port, Upstream: netip.AddrPortFrom(pod.Unmap(), port).String()}
	return func(*net.TCPConn) (http.Target, error) { return target, nil }, nil
}
