// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"weir.dev/weir/cmd/weir/internal/finding"
)

// Who may read one namespace only gets what can be said of it, and is told what
// was left out.
func TestCheckGoesOnWhereItMayNotLook(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"gitVersion": "v1.33.1"}`))
	}))
	defer server.Close()
	c := &Cluster{
		Client: readerOf(t, "shop",
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"weir.dev/inject": "enabled"}}},
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "old", Namespace: "shop"}}),
		config: &rest.Config{Host: server.URL}, Namespace: "shop", System: "weir-system",
	}
	var got []finding.Code
	for _, check := range []func(context.Context) ([]finding.Finding, error){c.CheckInstallation, c.CheckConfiguration, c.CheckPods} {
		found, err := check(t.Context())
		if err != nil {
			t.Error(err)
		}
		for _, f := range found {
			got = append(got, f.Code)
		}
	}
	want := []finding.Code{
		finding.NotAllowed, finding.NotAllowed, finding.NotAllowed, // CRDs, operator, webhook
		finding.MissingSidecar, finding.OperatorUnreached,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// readerOf may read what is in a namespace, and the namespace itself.
func readerOf(t *testing.T, namespace string, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, isNamespace := o.(*corev1.Namespace); key.Namespace == namespace || isNamespace && key.Name == namespace {
				return c.Get(ctx, key, o, opts...)
			}
			return forbidden
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if o := (&client.ListOptions{}).ApplyOptions(opts); o.Namespace != namespace {
				return forbidden
			}
			return c.List(ctx, list, opts...)
		},
	}).Build()
}
