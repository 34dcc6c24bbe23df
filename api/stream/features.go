// SPDX-License-Identifier: Apache-2.0

package stream

// Features that a sidecar names in Hello. What a sidecar lacks is left out of its
// snapshot, so that it never acks what it does not enforce.
const (
	// FeatureRateLimit is RateLimitPolicy over HTTP: SlidingWindow, TokenBucket and
	// FixedWindow; keys header, clientIP and pathParam; scopes Pod and Cluster.
	FeatureRateLimit = "ratelimit/v1"
)
