// SPDX-License-Identifier: Apache-2.0

// Package policy is the shell around attach and compile.
//
// In: policies, Services, Pods and Secrets, as the manager's cache has them. Out:
// publications for controllers/hub and verdicts for controllers/status. A
// namespace is worked on as a whole, once its events have been quiet for 50 ms, or
// 500 ms after the first of them.
//
// It runs on every replica, each of which serves streams; it decides nothing and
// writes nothing to the API server.
package policy
