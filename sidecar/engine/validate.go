// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"regexp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weir.dev/weir/api/snapshot"
)

// Bounds of a snapshot, above what the API allows.
const (
	maxBytes    = 8 << 20
	maxPorts    = 1024
	maxPolicies = 256
	maxStores   = 64
	maxIdentity = 1024
	maxString   = 256
)

// form is a shape that names have. The length is apart from the expression, where
// a counted repetition would cost half a MiB at start.
type form struct {
	re      *regexp.Regexp
	longest int
}

func (f form) fits(s string) bool { return len(s) <= f.longest && f.re.MatchString(s) }

// nameForm is a DNS subdomain: names become parts of Redis keys, where a brace or
// a colon would leave the namespace.
var (
	nameForm    = form{regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`), 253}
	clusterForm = form{regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._]*$`), 253}
	prefixForm  = form{regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._:/]*$`), 128}
)

// validate checks what concerns the snapshot as a whole. What a policy says is
// checked where it is compiled.
func validate(snap *snapshot.Snapshot) error {
	if snap == nil {
		return refuse("The snapshot is missing.")
	}
	if n := proto.Size(snap); n > maxBytes {
		return refuse("The snapshot has %d bytes, at most %d are possible.", n, maxBytes)
	}
	if err := known(snap); err != nil {
		return err
	}
	w := snap.GetWorkload()
	if !clusterForm.fits(w.GetCluster()) {
		return refuse("workload.cluster %q is no cluster id: letters, digits, '.', '_' and '-'.", w.GetCluster())
	}
	if !nameForm.fits(w.GetNamespace()) {
		return refuse("workload.namespace %q is no namespace.", w.GetNamespace())
	}
	if len(snap.GetPorts()) > maxPorts || len(snap.GetRateLimitPolicies()) > maxPolicies || len(snap.GetIdempotencyPolicies()) > maxPolicies || len(snap.GetStores()) > maxStores {
		return refuse("The snapshot has %d ports, %d policies and %d stores; at most %d, %d and %d are possible.",
			len(snap.GetPorts()), len(snap.GetRateLimitPolicies())+len(snap.GetIdempotencyPolicies()), len(snap.GetStores()), maxPorts, maxPolicies, maxStores)
	}
	if err := snapshot.ValidateJWTProviders(snap.GetJwtProviders()); err != nil {
		return refuse("%s.", sentence(err))
	}
	if err := snapshot.ValidateProxy(snap.GetProxy()); err != nil {
		return refuse("proxy.%s.", err)
	}
	if err := snapshot.ValidateTelemetry(snap.GetTelemetry()); err != nil {
		return refuse("telemetry.%s.", err)
	}
	return nil
}

// known refuses fields that this sidecar does not know: it would ack what it does
// not enforce. The policy that has one is named.
func known(snap *snapshot.Snapshot) error {
	for p := range snapshot.Policies(snap) {
		if unknown(p.ProtoReflect()) {
			return refuseThe(snapshot.IDOf(p), "The policy has fields that this sidecar does not know; a newer sidecar is needed.")
		}
	}
	if unknown(snap.ProtoReflect()) {
		return refuse("The snapshot has fields that this sidecar does not know; a newer sidecar is needed.")
	}
	return nil
}

func unknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := 0; i < v.List().Len() && !found; i++ {
				found = unknown(v.List().Get(i).Message())
			}
		default:
			found = unknown(v.Message())
		}
		return !found
	})
	return found
}
