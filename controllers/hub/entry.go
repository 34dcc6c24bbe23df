// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
)

// Cut is a snapshot without what a sidecar's features lack.
type Cut struct {
	Hash     string
	Snapshot *snapshot.Snapshot
	// Unsupported are the policies that were left out, kind/name, sorted.
	Unsupported []string
}

// entry is one workload. Cuts are made once for all sidecars of equal features.
type entry struct {
	pub     Publication
	cuts    map[string]Cut
	history history
}

func newEntry() *entry { return &entry{history: history{snapshots: map[string]*snapshot.Snapshot{}}} }

func (e *entry) publish(p Publication) {
	e.pub, e.cuts = p, map[string]Cut{}
}

func (e *entry) cut(features []string) Cut {
	features = relevant(e.pub.Snapshot, features)
	key := strings.Join(features, "\x00")
	if c, ok := e.cuts[key]; ok {
		return c
	}
	snap, unsupported := stream.Cut(e.pub.Snapshot, features)
	c := Cut{Hash: snapshot.Hash(snap), Snapshot: snap, Unsupported: unsupported}
	if len(e.cuts) < maxCuts {
		e.cuts[key] = c
	}
	e.history.put(c.Hash, snap)
	return c
}

// relevant are those of a sidecar's features that the snapshot asks for: what else a
// sidecar names must neither cost a cut of its own nor pass for another sidecar's.
func relevant(s *snapshot.Snapshot, features []string) []string {
	return slices.DeleteFunc(stream.Wanted(s), func(f string) bool { return !slices.Contains(features, f) })
}

const (
	// maxCuts bounds the feature sets that are remembered for a publication.
	maxCuts = 8
	// maxHistory is how many snapshots of a workload are remembered.
	maxHistory = 8
)

// history is a workload's latest snapshots by hash; the oldest goes first.
type history struct {
	snapshots map[string]*snapshot.Snapshot
	order     []string
}

func (h *history) get(hash string) (*snapshot.Snapshot, bool) {
	s, ok := h.snapshots[hash]
	return s, ok
}

func (h *history) put(hash string, s *snapshot.Snapshot) {
	if _, ok := h.snapshots[hash]; ok {
		return
	}
	if len(h.order) == maxHistory {
		delete(h.snapshots, h.order[0])
		h.order = h.order[1:]
	}
	h.snapshots[hash] = s
	h.order = append(h.order, hash)
}

// Generations are the policies of a snapshot and their ports, as acks of it are counted.
func Generations(s *snapshot.Snapshot) []*stream.PolicyGeneration {
	ports := map[snapshot.PolicyID][]uint32{}
	for _, p := range s.GetPorts() {
		for _, id := range snapshot.Governing(p) {
			ports[id] = append(ports[id], p.GetNumber())
		}
	}
	var out []*stream.PolicyGeneration
	for p := range snapshot.Policies(s) {
		id := snapshot.IDOf(p)
		out = append(out, &stream.PolicyGeneration{Policy: id.String(), Generation: p.GetGeneration(), Uid: p.GetUid(), Ports: ports[id]})
	}
	return out
}
