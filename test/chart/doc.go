// SPDX-License-Identifier: Apache-2.0

// Package chart tests the Helm chart with helm itself: what it renders, what its
// schema refuses, that kustomize makes the same, that the operator understands
// it, and that a real API server takes it and keeps it through an upgrade. Run it
// with hack/verify/chart.sh (`make verify`), which sets HELM and
// KUBEBUILDER_ASSETS.
package chart
