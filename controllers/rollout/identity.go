// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"net/netip"
	"strings"
)

// Identity is what a replica writes into the Lease as its holder: who it is and
// where its gRPC server listens.
type Identity struct {
	Pod     string
	Address netip.AddrPort
}

// String is `<pod>_<ip:port>`. Pod names have no underscore.
func (i Identity) String() string { return i.Pod + "_" + i.Address.String() }

// ParseIdentity is the inverse of String.
func ParseIdentity(s string) (Identity, error) {
	pod, addr, ok := strings.Cut(s, "_")
	if !ok || pod == "" {
		return Identity{}, fmt.Errorf("lease holder %q is not <pod>_<ip:port>", s)
	}
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return Identity{}, fmt.Errorf("lease holder %q is not <pod>_<ip:port>: %w", s, err)
	}
	return Identity{Pod: pod, Address: a}, nil
}
