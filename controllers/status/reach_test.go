// SPDX-License-Identifier: Apache-2.0

package status

import (
	"testing"
	"testing/synctest"
	"time"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
)

// govern decides that the policy governs these ports of its pods.
func (b *bench) govern(ports ...uint16) {
	pods := []attach.Pod{}
	for _, p := range b.pods {
		p.Workload = "w"
		pods = append(pods, p)
	}
	b.writer.Set("shop", []compile.Verdict{{
		Policy: pay.PolicyID, UID: "u", Generation: 1, Reason: v1alpha1.ReasonAccepted, Message: "Yes.",
		Targets: []attach.Target{{
			Name: "pay", Reason: v1alpha1.ReasonAccepted, Pods: pods, Ports: ports, PortsIn: map[string][]uint16{"w": ports},
		}},
	}}, time.Now())
}

func (b *bench) ackAt(uid string, ports ...uint32) {
	b.ack(uid, 1)
	b.streams[uid].Update(func(p *stream.PodState) {
		p.Acked = []*stream.PolicyGeneration{{Policy: pay.PolicyID.String(), Generation: 1, Uid: "u", Ports: ports}}
	})
}

// Another policy is deleted, so that this one comes to govern its port, in the
// generation that it has: what was acked before says nothing of that port.
func TestMorePorts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, &memory{uid: "u"})
		b.addPod("one")
		b.addPod("two")
		b.govern(8080)
		b.ackAt("one", 8080)
		b.ackAt("two", 8080)
		synctest.Wait()
		is := func(status string, reason v1alpha1.ConditionReason) {
			t.Helper()
			synctest.Wait()
			if s, r, _ := b.store.is(); s != status || r != string(reason) {
				t.Errorf("Programmed is %s %s, want %s %s", s, r, status, reason)
			}
		}
		is("True", v1alpha1.ReasonProgrammed)
		time.Sleep(time.Hour)
		b.govern(8080, 8081)
		b.ackAt("one", 8080, 8081)
		is("False", v1alpha1.ReasonReconciling)
		b.ackAt("two", 8080, 8081)
		is("True", v1alpha1.ReasonProgrammed)
		// Fewer ports need no ack.
		b.govern(8080)
		is("True", v1alpha1.ReasonProgrammed)
	})
}
