// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// firstPort is the container port of the first listener. Numbers only tell
// listeners apart: nothing listens on them.
const firstPort = 20001

// Cluster is what listeners stand for: one pod that all their Services select.
type Cluster struct {
	Services []corev1.Service
	Pod      corev1.Pod
	// Ports are the container ports, by listener.
	Ports []uint16
}

// NewCluster invents the Services and the pod of listeners in a namespace.
func NewCluster(namespace string, listeners []Listener) (Cluster, error) {
	labels := map[string]string{"weir.dev/run": "local"}
	c := Cluster{Pod: corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "local", Namespace: namespace, UID: "local", Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{
			PodIP:      "127.0.0.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}}
	byName := map[string]*corev1.Service{}
	seen := map[string]bool{}
	for i, l := range listeners {
		if seen[l.Name()] {
			return c, fmt.Errorf("--listener %s is given twice; every listener has a name of its own", l.Name())
		}
		seen[l.Name()] = true
		port := int32(firstPort + i)
		c.Ports = append(c.Ports, uint16(port))
		app := &c.Pod.Spec.Containers[0]
		app.Ports = append(app.Ports, corev1.ContainerPort{ContainerPort: port, Protocol: corev1.ProtocolTCP})
		s := byName[l.Service]
		if s == nil {
			s = &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: l.Service, Namespace: namespace},
				Spec:       corev1.ServiceSpec{Selector: labels, ClusterIP: "127.0.0.1"},
			}
			byName[l.Service] = s
		}
		s.Spec.Ports = append(s.Spec.Ports, servicePort(l, port))
	}
	for _, s := range byName {
		c.Services = append(c.Services, *s)
	}
	sort.Slice(c.Services, func(i, j int) bool { return c.Services[i].Name < c.Services[j].Name })
	return c, nil
}

func servicePort(l Listener, target int32) corev1.ServicePort {
	p := corev1.ServicePort{Name: l.Port, Port: target, TargetPort: intstr.FromInt32(target), Protocol: corev1.ProtocolTCP}
	if n, ok := l.number(); ok {
		p.Name, p.Port = "", n
	}
	p.AppProtocol = l.appProtocol()
	return p
}
