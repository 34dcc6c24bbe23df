// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"encoding/json"
	"fmt"

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
// statuses, and a change of the spec meanwhile is no reason to fail. It has the
// uid, so that it never reaches a policy's successor of the same name.
func (c *Cluster) Write(ctx context.Context, id ID, uid types.UID, doc Document) error {
	o, _, err := object(id)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid},
		"status":   doc.patch(id.Kind),
	})
	if err != nil {
		return fmt.Errorf("marshal status: %w", err)
	}
	return c.Writer.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, patch), client.FieldOwner("weir-status"))
}

// patch names every field, so that one which is empty now is removed.
func (d *Document) patch(kind string) map[string]any {
	out := map[string]any{"conditions": d.Conditions, "targets": d.Targets, "rollout": d.Rollout}
	if kind == v1alpha1.KindRateLimitPolicy {
		out["shadow"] = d.Shadow
	}
	return out
}

// object returns an empty object of the policy's name, and what reads its status.
func object(id ID) (client.Object, func() Document, error) {
	switch id.Kind {
	case v1alpha1.KindRateLimitPolicy:
		o := &v1alpha1.RateLimitPolicy{}
		o.Name, o.Namespace = id.Name, id.Namespace
		return o, func() Document { return Document{PolicyStatus: o.Status.PolicyStatus, Shadow: o.Status.Shadow} }, nil
	case v1alpha1.KindIdempotencyPolicy:
		o := &v1alpha1.IdempotencyPolicy{}
		o.Name, o.Namespace = id.Name, id.Namespace
		return o, func() Document { return Document{PolicyStatus: o.Status.PolicyStatus} }, nil
	case v1alpha1.KindCallbackRoute:
		o := &v1alpha1.CallbackRoute{}
		o.Name, o.Namespace = id.Name, id.Namespace
		return o, func() Document { return Document{PolicyStatus: o.Status.PolicyStatus} }, nil
	}
	return nil, nil, fmt.Errorf("kind %q has no status of Weir's", id.Kind)
}
