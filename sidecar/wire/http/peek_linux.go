// SPDX-License-Identifier: Apache-2.0

package http

import (
	"syscall"
	"unsafe"
)

// recvPeek looks at the first byte that waits in a socket without taking it. It
// never blocks, so the scheduler need not know of the call.
func recvPeek(fd int, b *[1]byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
