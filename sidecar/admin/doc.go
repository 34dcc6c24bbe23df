// SPDX-License-Identifier: Apache-2.0

// Package admin is what people and machines see of a sidecar beside its traffic.
//
// Port 16000, open to the pod's network: /healthz, /readyz, /metrics, and
// /probe/<container>/<kind>, which forwards the kubelet's probes from a fixed list
// so that they never meet a limit. Port 16001, on loopback only: /dump, /drain,
// /loglevel, /debug/pprof.
//
// In: the state of the parts, as functions; counts, through Metrics. Out: answers.
// It shows no credential, forwards nothing that is not in the list, and costs a
// request no more than a few atomic additions.
package admin
