// SPDX-License-Identifier: Apache-2.0

package http

import "syscall"

// recvPeek looks at the first byte that waits in a socket without taking it.
func recvPeek(fd int, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(fd, b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
