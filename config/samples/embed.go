// SPDX-License-Identifier: Apache-2.0

// Package samples holds manifests of each kind, for `kubectl apply` and for the
// tour of `weir demo`.
package samples

import _ "embed"

// RateLimitPolicy is ratelimitpolicy.yaml.
//
//go:embed ratelimitpolicy.yaml
var RateLimitPolicy []byte
