// SPDX-License-Identifier: Apache-2.0

// Package ledger runs idempotency in one process: it claims requests, waits for those
// in progress, and keeps what they came to.
package ledger
