// SPDX-License-Identifier: Apache-2.0

// Package docs tests that the documentation says what the code does: that every
// refusal, finding, reason, metric and unsupported field has its place in a page
// and no page tells of one that is gone, that examples can be read, and that
// links lead somewhere.
//
// In: the pages of the repository and the syntax of its Go files. Nothing is
// started.
package docs
