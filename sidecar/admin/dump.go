// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"weir.dev/weir/api/snapshot"
)

// redacted stands for what a dump does not show.
const redacted = "REDACTED"

// state is what /dump answers.
type state struct {
	Version   string          `json:"version"`
	Ready     bool            `json:"ready"`
	Draining  bool            `json:"draining"`
	Connected *bool           `json:"connected,omitempty"`
	Hash      string          `json:"hash,omitempty"`
	Snapshot  json.RawMessage `json:"snapshot,omitempty"`
}

func (a *Admin) dump(w http.ResponseWriter, _ *http.Request) {
	s := state{Version: a.opts.Version, Ready: a.opts.Ready(), Draining: a.draining.Load()}
	if a.opts.Connected != nil {
		up := a.opts.Connected()
		s.Connected = &up
	}
	if u := a.opts.Snapshot(); u != nil {
		b, err := protojson.Marshal(Redact(u.GetSnapshot()))
		if err != nil {
			text(w, http.StatusInternalServerError, err.Error())
			return
		}
		s.Hash, s.Snapshot = u.GetHash(), b
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(s)
}

// Redact returns a copy without what users may have written as a secret: values
// that headers and keys are compared with. Credentials of stores are not in a
// snapshot at all.
func Redact(s *snapshot.Snapshot) *snapshot.Snapshot {
	s = proto.CloneOf(s)
	for _, p := range s.GetRateLimitPolicies() {
		for _, e := range p.GetExempt() {
			if h := e.GetHeader(); h != nil {
				h.Value = redacted
			}
		}
		for _, l := range p.GetLimits() {
			for _, o := range l.GetOverrides() {
				for i := range o.GetKey() {
					o.Key[i] = redacted
				}
			}
			for _, m := range l.GetMatch() {
				for _, h := range m.GetHttp().GetHeaders() {
					h.Value = redacted
				}
			}
		}
	}
	for _, p := range s.GetIdempotencyPolicies() {
		for _, m := range p.GetMatch() {
			for _, h := range m.GetHttp().GetHeaders() {
				h.Value = redacted
			}
		}
	}
	return s
}
