// SPDX-License-Identifier: Apache-2.0

package thrift

import "weir.dev/weir/sidecar/wire/thrift/message"

// infos are those of a message as an exchange has headers.
type infos struct{ env *message.Envelope }

// Header implements exchange.Headers.
func (h *infos) Header(name string) ([]byte, int) {
	return h.env.Get(name)
}

// Each implements exchange.ResponseHeaders.
func (h *infos) Each(yield func(name, value []byte) bool) {
	for i := range h.env.Infos {
		if in := &h.env.Infos[i]; !in.Numbered && !yield(in.Key, in.Value) {
			return
		}
	}
}

// Trailers implements exchange.ResponseHeaders: there are none.
func (h *infos) Trailers(func(name, value []byte) bool) {}
