// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"encoding/json"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"

	"weir.dev/weir/api/stream"
)

// View is what /rollout answers. Pods are PodStates as protobuf's JSON has them.
type View struct {
	Replica string `json:"replica"`
	// Leading: only then the list is whole.
	Leading bool              `json:"leading"`
	Pods    []json.RawMessage `json:"pods"`
}

// Handler answers GET with a View, of one namespace when the query names one.
func (s *Service) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		namespaces := s.Tracker.Namespaces()
		if ns := r.URL.Query().Get("namespace"); ns != "" {
			namespaces = []string{ns}
		}
		v := View{Replica: s.Tracker.replica, Leading: s.Leading(), Pods: []json.RawMessage{}}
		for _, ns := range namespaces {
			for _, p := range s.Tracker.Pods(ns) {
				b, err := marshal(p)
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
				v.Pods = append(v.Pods, b)
			}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	})
}

func marshal(p *stream.PodState) (json.RawMessage, error) { return protojson.Marshal(p) }

// Decode returns the states of a View.
func (v *View) Decode() ([]*stream.PodState, error) {
	out := make([]*stream.PodState, 0, len(v.Pods))
	for _, raw := range v.Pods {
		p := &stream.PodState{}
		// The operator may be newer than the one who asks.
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
