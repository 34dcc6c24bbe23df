// SPDX-License-Identifier: Apache-2.0

// Package e2e runs Weir on a real cluster: the Helm chart, injected pods of an
// application that knows nothing of Weir, and clients inside the cluster. It is
// started by `make e2e`, which builds and loads the images, says by E2E_KUBECTL
// and E2E_HELM how to reach the cluster, and by E2E_IMAGES what the images are
// called. Every test works in a namespace of its own.
package e2e
