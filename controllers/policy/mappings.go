// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/mapping"
)

// Mappings are those from REST to Thrift: a mapping.Keeper.
type Mappings interface {
	Get(ctx context.Context, namespace string, idl attach.IDL) (mapping.Mapping, error)
	Keep(namespace string, named []attach.IDL)
	// Changed has a value when Take has namespaces to give.
	Changed() <-chan struct{}
	Take() []string
}

// reasonIDL is of Events on Services.
const (
	reasonIDL = "ThriftIDLInvalid"
	actionIDL = "ReadThriftIDL"
)

// told names an Event that was given.
type told struct {
	service, configMap string
	// version is the ConfigMap's: a recorder takes Events about the same objects for one,
	// and would keep the first one's note.
	version string
}

// readMappings collects the mappings that Services name, and tells on a Service what is
// wrong with one of them.
func (r *Reconciler) readMappings(ctx context.Context, in *compile.Input) error {
	in.Transcodings = map[attach.IDL]*snapshot.Transcoding{}
	var named []attach.IDL
	wrong := map[told]string{}
	for i := range in.Services {
		s := &in.Services[i]
		idls, err := attach.IDLs(s)
		if err != nil {
			wrong[told{service: s.Name}] = err.Error()
		}
		for _, one := range idls {
			m, err := r.Mappings.Get(ctx, in.Namespace, one)
			if err != nil {
				return err
			}
			named = append(named, one)
			if m.Transcoding != nil {
				in.Transcodings[one] = m.Transcoding
			}
			switch {
			case m.Problem == "":
			case m.Transcoding != nil:
				wrong[told{s.Name, one.ConfigMap, m.Version}] = "The mapping before goes on. " + m.Problem
			default:
				wrong[told{s.Name, one.ConfigMap, m.Version}] = "Requests get 503. " + m.Problem
			}
		}
	}
	r.Mappings.Keep(in.Namespace, named)
	r.tell(in, wrong)
	return nil
}

// maxNote is what an Event holds.
const maxNote = 1000

// tell gives an Event for each that is wrong, once, from the replica that leads.
func (r *Reconciler) tell(in *compile.Input, wrong map[told]string) {
	delete(r.untold, in.Namespace)
	select {
	case <-r.elected:
	default:
		if len(wrong) > 0 {
			r.untold[in.Namespace] = true
		}
		return
	}
	before := r.told[in.Namespace]
	for i := range in.Services {
		s := &in.Services[i]
		for at, note := range wrong {
			if at.service == s.Name && before[at] != note {
				r.Events.Eventf(s, at.related(in.Namespace), corev1.EventTypeWarning, reasonIDL, actionIDL, "%.*s", maxNote, note)
			}
		}
	}
	if len(wrong) == 0 {
		delete(r.told, in.Namespace)
		return
	}
	r.told[in.Namespace] = wrong
}

// related is the ConfigMap; nil where the Service's own annotation is wrong.
func (t *told) related(namespace string) runtime.Object {
	if t.configMap == "" {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "ConfigMap", Namespace: namespace, Name: t.configMap, ResourceVersion: t.version}
}
