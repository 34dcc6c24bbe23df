// SPDX-License-Identifier: Apache-2.0

// Package podspec is what the injector writes into a pod and the sidecar reads
// there: ports, environment, file paths, the list of probes to forward, names of
// labels and annotations.
//
// In: nothing. Out: constants, and the JSON types of three environment variables
// with their encoding. Both sides of Weir import it, so it knows neither
// Kubernetes types nor the data plane, and does no I/O.
package podspec
