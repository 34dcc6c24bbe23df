// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CallbackRoute takes requests, webhooks or events into a queue and delivers them.
//
// Who may create one may redirect the traffic of the Services it names.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=weir,shortName=cbr
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.spec.source.*.targetRef.name`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name="Programmed",type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.rollout.pods`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="The name of a route is part of its topics' names: shorten it to 63 characters or fewer."
type CallbackRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is wanted.
	// +required
	Spec CallbackRouteSpec `json:"spec"`

	// status is what is so.
	// +optional
	Status CallbackRouteStatus `json:"status,omitzero"`
}

// CallbackRouteList is a list of CallbackRoute.
//
// +kubebuilder:object:root=true
type CallbackRouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []CallbackRoute `json:"items"`
}

// CallbackRouteSpec is what a CallbackRoute wants.
// +kubebuilder:validation:XValidation:rule="!has(self.source.request) || has(self.deliver)",fieldPath=".deliver",reason="FieldValueRequired",message="A route with source.request says where requests go: set deliver.url or deliver.serviceRef."
// +kubebuilder:validation:XValidation:rule="!has(self.source.request) || !has(self.deliver) || !has(self.deliver.endpoints)",fieldPath=".deliver.endpoints",message="A request has one destination: use url or serviceRef in place of endpoints."
// +kubebuilder:validation:XValidation:rule="!has(self.source.webhook) || !has(self.deliver)",fieldPath=".deliver",message="What comes in as a webhook goes to the handler: remove deliver."
// +kubebuilder:validation:XValidation:rule="!has(self.source.event) || has(self.deliver)",fieldPath=".deliver",reason="FieldValueRequired",message="A route with source.event says where events go: set deliver.endpoints or deliver.url."
// +kubebuilder:validation:XValidation:rule="!has(self.source.event) || !has(self.deliver) || !has(self.deliver.serviceRef)",fieldPath=".deliver.serviceRef",message="Events go out to subscribers: use endpoints or url in place of serviceRef."
// +kubebuilder:validation:XValidation:rule="!has(self.callback) || has(self.source.request)",fieldPath=".callback",message="Only requests are answered by a callback: remove callback, or use source.request."
// +kubebuilder:validation:XValidation:rule="!has(self.callback) || has(self.handler)",fieldPath=".handler",reason="FieldValueRequired",message="Somebody must take the callback: set handler."
// +kubebuilder:validation:XValidation:rule="!has(self.source.webhook) || has(self.handler)",fieldPath=".handler",reason="FieldValueRequired",message="Somebody must take the webhook: set handler."
// +kubebuilder:validation:XValidation:rule="!has(self.source.event) || !has(self.handler)",fieldPath=".handler",message="Events have subscribers and no handler: remove handler."
// +kubebuilder:validation:XValidation:rule="!has(self.callback) || has(self.callback.receiver) || !has(self.source.request) || !has(self.source.request.match) || !self.source.request.match.exists(m, has(m.thrift))",fieldPath=".callback.receiver",reason="FieldValueRequired",message="Callbacks come in over HTTP, and this source is Thrift: name an HTTP port of a Service in callback.receiver."
// +kubebuilder:validation:XValidation:rule="!has(self.deliver) || !has(self.deliver.endpoints) || !has(self.source.event) || has(self.source.event.typeFrom) || !self.deliver.endpoints.exists(e, has(e.types))",fieldPath=".source.event.typeFrom",reason="FieldValueRequired",message="Endpoints choose by types: say in source.event.typeFrom where an event's type is found."
// +kubebuilder:validation:XValidation:rule="has(self.ordering) == has(oldSelf.ordering) && (!has(self.ordering) || self.ordering == oldSelf.ordering)",fieldPath=".ordering",message="The ordering of a route cannot change, or what is pending would overtake: create a route of another name."
// +kubebuilder:validation:XValidation:rule="!has(self.ordering) || self.kafka.partitions == oldSelf.kafka.partitions",fieldPath=".kafka.partitions",message="The partitions of an ordered route cannot change, or keys would move and overtake: create a route of another name."
// +kubebuilder:validation:XValidation:rule="self.kafka.partitions >= oldSelf.kafka.partitions",fieldPath=".kafka.partitions",message="Kafka cannot take partitions away: set partitions to what they were, or more."
// +kubebuilder:validation:XValidation:rule="self.kafka.clusterRef.name == oldSelf.kafka.clusterRef.name",fieldPath=".kafka.clusterRef",message="The topics of a route cannot move to another cluster: create a route of another name."
type CallbackRouteSpec struct {
	// source is what comes in.
	// +required
	Source Source `json:"source"`

	// ordering keeps deliveries of one key in order. Absent means unordered. It cannot change.
	// +optional
	Ordering *Ordering `json:"ordering,omitempty"`

	// deliver is where it goes.
	// +optional
	Deliver *Deliver `json:"deliver,omitempty"`

	// callback is awaited after delivery.
	// +optional
	Callback *Callback `json:"callback,omitempty"`

	// handler takes results. What it does not answer with 2xx is delivered again.
	// +optional
	Handler *Handler `json:"handler,omitempty"`

	// kafka holds the route's topics.
	// +optional
	// +kubebuilder:default={clusterRef: {name: default}, partitions: 12}
	Kafka Kafka `json:"kafka,omitzero"`

	// storeRef is the store from which operations are answered.
	// +optional
	// +kubebuilder:default={name: default}
	StoreRef StoreRef `json:"storeRef,omitzero"`
}

// Source is what comes in.
// +kubebuilder:validation:XValidation:rule="[has(self.request), has(self.webhook), has(self.event)].exists_one(x, x)",message="A route has one source: set exactly one of request, webhook and event."
type Source struct {
	// request is accepted now (202) and worked on later.
	// +optional
	Request *RequestSource `json:"request,omitempty"`

	// webhook is a provider's event that comes in.
	// +optional
	Webhook *WebhookSource `json:"webhook,omitempty"`

	// event is the application's own event that goes out.
	// +optional
	Event *EventSource `json:"event,omitempty"`
}

// RequestSource selects requests that are accepted now and worked on later.
type RequestSource struct {
	// targetRef is the port that takes the requests.
	// +required
	TargetRef TargetRef `json:"targetRef"`

	// match selects requests: those that any entry matches. A Thrift method is two-way and returns void or a string.
	// Absent means all.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []Match `json:"match,omitempty"`

	// accept says how a request is accepted.
	// +optional
	// +kubebuilder:default={timeout: "2s", maxWait: "30s", maxBytes: "512Ki"}
	Accept Accept `json:"accept,omitzero"`
}

// Accept says how a request is accepted.
type Accept struct {
	// timeout of the write to Kafka, after which the client is answered 503.
	// +optional
	// +kubebuilder:default="2s"
	Timeout PositiveDuration `json:"timeout,omitempty"`

	// maxWait bounds what a client may ask for with "Prefer: wait=N". 0s means that it is always answered 202.
	// +optional
	// +kubebuilder:default="30s"
	MaxWait Duration `json:"maxWait,omitempty"`

	// maxBytes of a request's body; a larger one is answered 413.
	// +optional
	// +kubebuilder:default="512Ki"
	MaxBytes ByteSize `json:"maxBytes,omitempty"`

	// publicURL before the path in Location. "" means a relative Location.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self == '' || (isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != '')",message="Write publicURL as a whole URL, as in https://shop.example, or leave it empty."
	PublicURL string `json:"publicURL,omitempty"`
}

// WebhookSource takes a provider's events.
// +kubebuilder:validation:XValidation:rule="self.provider != 'HMAC' || has(self.verify)",fieldPath=".verify",reason="FieldValueRequired",message="provider is HMAC: say in verify which header carries the signature and how it is made."
// +kubebuilder:validation:XValidation:rule="self.provider == 'HMAC' || !has(self.verify)",fieldPath=".verify",message="The signatures of this provider are known: remove verify, or set provider to HMAC."
type WebhookSource struct {
	// targetRef is the port that takes the events.
	// +required
	TargetRef TargetRef `json:"targetRef"`

	// path to which the provider posts.
	// +required
	Path URLPath `json:"path"`

	// provider whose signatures are verified.
	// +required
	Provider WebhookProvider `json:"provider"`

	// verify says how signatures of provider HMAC are made.
	// +optional
	Verify *HMAC `json:"verify,omitempty"`

	// secretRef holds the secret shared with the provider.
	// +required
	SecretRef SecretRef `json:"secretRef"`

	// dedupe is how long an event's id is remembered.
	// +optional
	// +kubebuilder:default="72h"
	Dedupe PositiveDuration `json:"dedupe,omitempty"`
}

// WebhookProvider is a way to sign webhooks.
// +kubebuilder:validation:Enum=GitHub;Stripe;Slack;Shopify;StandardWebhooks;HMAC
type WebhookProvider string

const (
	// ProviderGitHub signs as GitHub does.
	ProviderGitHub WebhookProvider = "GitHub"
	// ProviderStripe signs as Stripe does.
	ProviderStripe WebhookProvider = "Stripe"
	// ProviderSlack signs as Slack does.
	ProviderSlack WebhookProvider = "Slack"
	// ProviderShopify signs as Shopify does.
	ProviderShopify WebhookProvider = "Shopify"
	// ProviderStandardWebhooks signs as the Standard Webhooks specification says.
	ProviderStandardWebhooks WebhookProvider = "StandardWebhooks"
	// ProviderHMAC signs as verify says.
	ProviderHMAC WebhookProvider = "HMAC"
)

// EventSource takes the application's own events.
type EventSource struct {
	// targetRef is the port to which the application posts events.
	// +required
	TargetRef TargetRef `json:"targetRef"`

	// path to which the application posts events.
	// +required
	Path URLPath `json:"path"`

	// typeFrom is where an event's type is found.
	// +optional
	TypeFrom *ContentSource `json:"typeFrom,omitempty"`
}

// Ordering keeps deliveries of one key in order.
type Ordering struct {
	// key whose deliveries stay in order.
	// +required
	Key ContentSource `json:"key"`
}

// Kafka holds a route's topics.
type Kafka struct {
	// clusterRef is a cluster of the operator's configuration. It cannot change.
	// +optional
	// +kubebuilder:default={name: default}
	ClusterRef KafkaClusterRef `json:"clusterRef,omitzero"`

	// partitions of the route's topic. They can grow, but not on an ordered route.
	// +optional
	// +kubebuilder:default=12
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Partitions int32 `json:"partitions,omitempty"`

	// replicas of the route's topics. Absent means 3, or the cluster's maximum if that is less.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Replicas *int32 `json:"replicas,omitempty"`
}

// KafkaClusterRef names a Kafka cluster of the operator's configuration.
type KafkaClusterRef struct {
	// name of the cluster.
	// +optional
	// +kubebuilder:default=default
	Name ObjectName `json:"name,omitempty"`
}

// CallbackRouteStatus is what is so.
type CallbackRouteStatus struct {
	PolicyStatus `json:",inline"`

	// backlog counts what is accepted and not finished.
	// +optional
	Backlog *BacklogStatus `json:"backlog,omitempty"`
}
