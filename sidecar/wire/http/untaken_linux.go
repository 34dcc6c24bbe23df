// SPDX-License-Identifier: Apache-2.0

package http

import (
	"golang.org/x/sys/unix"
)

// untaken reports whether the application has closed the connection before the last
// n bytes of what was written had come to it. It is asked when a read has met the
// end of the connection: the application's FIN, which acknowledges all that its
// kernel had taken by then. That the kernel then answered those bytes with a reset,
// which ends the connection on this side too, says that nobody will read them
// either. A reset alone says nothing: the application may have read them before.
func (u *upConn) untaken(n int) bool {
	if u.raw == nil {
		return false
	}
	none := false
	err := u.raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		// The kernel counts our SYN too.
		none = err == nil && info.State == unix.BPF_TCP_CLOSE && info.Bytes_acked == uint64(u.wrote-int64(n)+1)
	})
	return err == nil && none
}
