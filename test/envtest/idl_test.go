// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/config"
)

// transcodes returns nil when the sidecar's one port makes calls of these methods; none:
// it has no mapping.
func (s *sidecar) transcodes(want ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ports := s.serving.GetSnapshot().GetPorts()
	if len(ports) != 1 || ports[0].GetTranscoding() == nil || ports[0].GetProtocol() != snapshot.Protocol_PROTOCOL_HTTP {
		return fmt.Errorf("serves %v; stream error %w", ports, s.err)
	}
	got := []string{}
	for _, m := range ports[0].GetTranscoding().GetMethods() {
		got = append(got, m.GetName())
	}
	if fmt.Sprint(got) != fmt.Sprint(append([]string{}, want...)) {
		return fmt.Errorf("makes calls of %v, want %v", got, want)
	}
	return nil
}

// wantEvent waits for an Event on the Service.
func wantEvent(t *testing.T, ns, note string) {
	t.Helper()
	eventually(t, "there is no event that says "+note, func() error {
		all, err := server.kube.EventsV1().Events(ns).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		var said []string
		for i := range all.Items {
			e := &all.Items[i]
			if e.Regarding.Kind == "Service" && e.Reason == "ThriftIDLInvalid" && strings.Contains(e.Note, note) {
				return nil
			}
			said = append(said, e.Note)
		}
		return fmt.Errorf("there are %q", said)
	})
}

// A mapping gets to sidecars without any policy. Where there is none yet the port is there
// all the same; a bad one is told on the Service, and the one before goes on. A sidecar
// that cannot make calls has no such port.
func TestThriftIDL(t *testing.T) {
	t.Parallel()
	c := newCluster(t, config.Default())
	r := c.alone()
	ns := c.namespace
	s := newService(t, ns)
	s.Annotations = map[string]string{"weir.dev/thrift-idl": "http=idl"}
	if err := server.client.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	sidecar := c.connect(r, newPod(t, ns, "p1", true), []string{stream.FeatureRateLimit, stream.FeatureTranscode}, nil)
	eventually(t, "the port is not empty", func() error { return sidecar.transcodes() })
	wantEvent(t, ns, "There is no ConfigMap idl")

	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "idl", Namespace: ns}}
	m.Data = map[string]string{"a.thrift": `service S { void f(1: i32 a) (api.get = "/f") }`}
	create(t, m)
	eventually(t, "the mapping does not come", func() error { return sidecar.transcodes("f") })

	m.Data["a.thrift"] = `service S { Nothing f(1: i32 a) (api.get = "/f") }`
	if err := server.client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	wantEvent(t, ns, "The mapping before goes on. a.thrift:1:")
	if err := sidecar.transcodes("f"); err != nil {
		t.Error(err)
	}

	old := c.connect(r, newPod(t, ns, "p2", true), features, nil)
	eventually(t, "an old sidecar gets no snapshot", func() error { return old.governs() })
	if err := old.transcodes(); err == nil {
		t.Error("an old sidecar has the port")
	}
	m.Data["a.thrift"] = `service S { void g() (api.get = "/g") }`
	if err := server.client.Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the next mapping does not come", func() error { return sidecar.transcodes("g") })
}
