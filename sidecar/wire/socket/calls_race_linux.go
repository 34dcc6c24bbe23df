// SPDX-License-Identifier: Apache-2.0

//go:build race

package socket

import (
	"errors"
	"syscall"
)

// Under the race detector these are the calls of package syscall, which tell it that
// what was written before a byte was sent is seen by whoever has received it.

func recvOnce(fd uintptr, p []byte) (int, syscall.Errno) { return result(syscall.Read(int(fd), p)) }

func sendOnce(fd uintptr, p []byte) (int, syscall.Errno) { return result(syscall.Write(int(fd), p)) }

func result(n int, err error) (int, syscall.Errno) {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return 0, errno
	}
	return n, 0
}
