// SPDX-License-Identifier: Apache-2.0

//go:build race

package idempotency

// racing: the race detector is in this binary.
const racing = true
