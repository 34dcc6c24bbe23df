// SPDX-License-Identifier: Apache-2.0

// Package e2e runs Weir on a real cluster: the Helm chart, injected pods of an
// application that knows nothing of Weir, and clients inside the cluster. It is
// started by `make e2e`, which builds and loads the images, says by E2E_KUBECTL
// and E2E_HELM how to reach the cluster, and by E2E_IMAGES what the images are
// called. Every test works in a namespace of its own.
//
// A test waits for what it needs with the helpers of wait_test.go, for as long as it
// takes: it assumes nothing about how soon a Service answers whose pods are ready, and
// it keeps requests and streams open until it ends them itself (underway, /hold). What
// has to be exact is asked again with a client that nobody has counted (unique).
package e2e
