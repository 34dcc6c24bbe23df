// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"weir.dev/weir/api/v1alpha1"
)

// Cluster is the Store of an API server.
type Cluster struct {
	// Reader is a cache.
	Reader client.Reader
	Writer client.StatusClient
}

// Read implements Store.
func (c *Cluster) Read(ctx context.Context, id ID) (types.UID, Document, error) {
	o, doc, err := object(id)
	if err != nil {
		return "", Document{}, err
	}
	if err := c.Reader.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return "", Document{}, err
	}
	return o.GetUID(), doc(), nil
}

// Write implements Store. The patch has no resource version: nobody else writes
// statuses, and a change of the spec meanwhile is no reason to fail. It tests the
// uid, so that it never reaches a policy's successor of the same name.
func (c *Cluster) Write(ctx context.Context, id ID, uid types.UID, doc Document) error {
	o, _, err := object(id)
	if err != nil {
		return err
	}
	patch, err := json.Marshal([]map[string]any{
		{"op": "test", "path": "/metadata/uid", "value": uid},
		{"op": "add", "path": "/status", "value": doc.status(id.Kind)},
	})
	if err != nil {
		return fmt.Errorf("marshal status: %w", err)
	}
	err = c.Writer.Status().Patch(ctx, o, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner("weir-status"))
	if testFailed(err) {
		return apierrors.NewConflict(schema.GroupResource{Group: v1alpha1.GroupName, Resource: id.Kind}, id.Name, errAnother)
	}
	return err
}

var errAnother = errors.New("it is another object of the same name")

// testFailed reports whether err is that of a test in a JSON patch: as an invalid
// object, but without a field that is.
func testFailed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	return status.Status().Details == nil || len(status.Status().Details.Causes) == 0
}

func (d *Document) status(kind string) any {
	switch kind {
	case v1alpha1.KindRateLimitPolicy:
		out := v1alpha1.RateLimitPolicyStatus{PolicyStatus: d.PolicyStatus}
		for _, c := range d.Shadow {
			out.Shadow = append(out.Shadow, v1alpha1.ShadowStatus{Limit: c.Name, WouldDeny: c.N})
		}
		return out
	case v1alpha1.KindIdempotencyPolicy:
		out := v1alpha1.IdempotencyPolicyStatus{PolicyStatus: d.PolicyStatus}
		for _, c := range d.Shadow {
			out.Shadow = append(out.Shadow, v1alpha1.ShadowOutcome{Outcome: c.Name, Requests: c.N})
		}
		return out
	default:
		return d.PolicyStatus
	}
}

// object returns an empty object of the policy's name, and what reads its status.
func object(id ID) (client.Object, func() Document, error) {
	switch id.Kind {
	case v1alpha1.KindRateLimitPolicy:
		o := &v1alpha1.RateLimitPolicy{}
		o.Name, o.Namespace = id.Name, id.Namespace
		return o, func() Document {
			doc := Document{PolicyStatus: o.Status.PolicyStatus}
			for _, s := range o.Status.Shadow {
				doc.Shadow = append(doc.Shadow, Count{s.Limit, s.WouldDeny})
			}
			return doc
		}, nil
	case v1alpha1.KindIdempotencyPolicy:
		o := &v1alpha1.IdempotencyPolicy{}
		o.Name, o.Namespace = id.Name, id.Namespace
		return o, func() Document {
			doc := Document{PolicyStatus: o.Status.PolicyStatus}
			for _, s := range o.Status.Shadow {
				doc.Shadow = append(doc.Shadow, Count{s.Outcome, s.Requests})
			}
			return doc
		}, nil
	case v1alpha1.KindCallbackRoute:
		o := &v1alpha1.CallbackRoute{}
		o.Name, o.Namespace = id.Name, id.Namespace
		return o, func() Document { return Document{PolicyStatus: o.Status.PolicyStatus} }, nil
	}
	return nil, nil, fmt.Errorf("kind %q has no status of Weir's", id.Kind)
}
