// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// GroupName is the API group of all Weir resources.
	GroupName = "weir.dev"
	// Version is the API version of this package.
	Version = "v1alpha1"

	// KindRateLimitPolicy is the kind of RateLimitPolicy.
	KindRateLimitPolicy = "RateLimitPolicy"
	// KindIdempotencyPolicy is the kind of IdempotencyPolicy.
	KindIdempotencyPolicy = "IdempotencyPolicy"
	// KindCallbackRoute is the kind of CallbackRoute.
	KindCallbackRoute = "CallbackRoute"
)

// GroupVersion is the group and version of this package. It is never changed.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: Version}

// AddToScheme registers the three kinds and their lists.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&RateLimitPolicy{}, &RateLimitPolicyList{},
		&IdempotencyPolicy{}, &IdempotencyPolicyList{},
		&CallbackRoute{}, &CallbackRouteList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
