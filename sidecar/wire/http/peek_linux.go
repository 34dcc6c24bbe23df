// SPDX-License-Identifier: Apache-2.0

package http

import (
	"syscall"
	"unsafe"
)

// recvPeek looks at the first byte that waits in a socket without taking it. It
// never blocks, so the scheduler need not know of the call.
func recvPeek(fd uintptr, b *[1]byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(b)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
