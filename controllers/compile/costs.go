// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// needed are fields without which the client could not make use of the answer: those
// in which a cost is said are taken out of it.
var needed = []string{
	"age", "allow", "cache-control", "connection", "content-encoding", "content-length", "content-range", "content-type", "date", "etag",
	"expires", "grpc-encoding", "grpc-message", "grpc-status", "keep-alive", "last-modified", "location", "retry-after", "server", "set-cookie",
	"te", "trailer", "transfer-encoding", "upgrade", "vary", "via", "www-authenticate",
}

// costs sets what a request costs.
func (b *limitBuilder) costs(out *snapshot.Limit) {
	concurrent := out.GetAlgorithm() == snapshot.Algorithm_ALGORITHM_CONCURRENCY
	// Of what is in progress nothing is to be given back: a permit comes back anyhow.
	out.FreeReplays = b.spec.Replays == v1alpha1.ReplaysFree && !concurrent
	c := b.spec.Cost
	if c == nil {
		return
	}
	if concurrent {
		b.invalid("cost", "A Concurrency limit counts each request in progress once: remove cost.")
		return
	}
	out.Cost = b.cost(out)
	name := strings.ToLower(string(c.ResponseHeader))
	free := c.Request != nil && *c.Request == 0
	switch {
	case name == "" && free:
		b.invalid("cost.request", "A request that costs nothing is never limited: set request to 1 or more, or name a responseHeader.")
	case slices.Contains(needed, name) || strings.HasPrefix(name, "ratelimit") || strings.HasPrefix(name, "x-ratelimit"):
		b.invalid("cost.responseHeader", "%s means something to clients, and the field in which a cost is said is taken out of the answer: name a field that the application has for that alone.", c.ResponseHeader)
	}
	out.CostHeader, out.CostByResponse = name, name != "" && free
}
