// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/v1alpha1"
)

const (
	storedPolicy = `
metadata: {name: stored, namespace: default}
spec: {targetRefs: [{name: payments}], limits: [{name: a, limit: 5, window: 60s}]}`
	storedIdempotency = `
metadata: {name: stored, namespace: default}
spec: {targetRefs: [{name: payments}], scope: [{header: X-Id}]}`
	storedRoute = `
metadata: {name: stored, namespace: default}
spec: {source: {request: {targetRef: {name: payments}}}, deliver: {url: "https://bank.example"}}`
)

// A status with every field comes back as it was written, through the subresource alone.
func keepsStatus(t *testing.T, config *rest.Config) {
	server := typedClient(t, config)
	condition := metav1.Condition{
		Type: string(v1alpha1.ConditionAccepted), Status: metav1.ConditionTrue, Reason: string(v1alpha1.ReasonAccepted),
		Message: "All targets took the policy.", ObservedGeneration: 1, LastTransitionTime: metav1.NewTime(time.Unix(1_700_000_000, 0)),
	}
	common := v1alpha1.PolicyStatus{
		Conditions: []metav1.Condition{condition},
		Targets: []v1alpha1.TargetStatus{
			{Name: "payments", Conditions: []metav1.Condition{condition}, Pods: 2},
			{Name: "payments", SectionName: "http", Pods: 0},
		},
		Rollout: &v1alpha1.RolloutStatus{Pods: 3, Current: 2, Stale: 1, MissingSidecar: 0},
	}
	policy := &v1alpha1.RateLimitPolicy{}
	idempotency := &v1alpha1.IdempotencyPolicy{}
	route := &v1alpha1.CallbackRoute{}
	for object, text := range map[client.Object]string{policy: storedPolicy, idempotency: storedIdempotency, route: storedRoute} {
		store(t, server, object, text)
	}
	policy.Status = v1alpha1.RateLimitPolicyStatus{PolicyStatus: common, Shadow: []v1alpha1.ShadowStatus{{Limit: "a", WouldDeny: 7}}}
	idempotency.Status = v1alpha1.IdempotencyPolicyStatus{PolicyStatus: common}
	route.Status = v1alpha1.CallbackRouteStatus{
		PolicyStatus: common, Backlog: &v1alpha1.BacklogStatus{Pending: 4, OldestUnackedAge: "1m5s", DeadLetters: 1},
	}
	for _, object := range []client.Object{policy, idempotency, route} {
		want := object.DeepCopyObject().(client.Object)
		if err := server.Status().Update(t.Context(), object); err != nil {
			t.Errorf("update status: %v", err)
			continue
		}
		got := object.DeepCopyObject().(client.Object)
		if err := server.Get(t.Context(), client.ObjectKeyFromObject(object), got); err != nil {
			t.Fatal(err)
		}
		want.SetResourceVersion(got.GetResourceVersion())
		want.SetManagedFields(got.GetManagedFields())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stored object (-want +got):\n%s", diff)
		}
	}
}

// kubectl get shows the target and the conditions, and finds all kinds as "weir".
func printsColumns(t *testing.T, config *rest.Config) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, plural := range []string{"ratelimitpolicies", "idempotencypolicies", "callbackroutes"} {
		raw, err := clientset.RESTClient().Get().
			AbsPath("/apis/weir.dev/v1alpha1/namespaces/default", plural, "stored").
			SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		table := &metav1.Table{}
		if err := json.Unmarshal(raw, table); err != nil {
			t.Fatal(err)
		}
		if len(table.Rows) != 1 {
			t.Fatalf("%s: got %d rows, want 1", plural, len(table.Rows))
		}
		cells := map[string]any{}
		for i, column := range table.ColumnDefinitions {
			cells[column.Name] = table.Rows[0].Cells[i]
		}
		delete(cells, "Age")
		want := map[string]any{"Name": "stored", "Target": "payments", "Accepted": "True", "Programmed": nil, "Pods": float64(3)}
		if diff := cmp.Diff(want, cells); diff != "" {
			t.Errorf("%s: columns (-want +got):\n%s", plural, diff)
		}
	}
}

func typedClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	server, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return client.WithFieldValidation(server, metav1.FieldValidationStrict)
}

// store creates the object that text describes. Go's zero values must not undo what defaults would do.
func store(t *testing.T, server client.Client, object client.Object, text string) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(strings.TrimSpace(text)), object); err != nil {
		t.Fatal(err)
	}
	if err := server.Create(t.Context(), object); err != nil {
		t.Fatalf("create %T: %v", object, err)
	}
}
