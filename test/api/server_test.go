// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

// All that only a real API server can show. One server serves all.
func TestServer(t *testing.T) {
	config := startServer(t)
	server, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("keeps rules", func(t *testing.T) { keepsRules(t, server) })
	t.Run("refuses unknown fields", func(t *testing.T) { refusesUnknownFields(t, server) })
	t.Run("takes full objects", func(t *testing.T) { takesFullObjects(t, server) })
	t.Run("takes samples", func(t *testing.T) { takesSamples(t, server) })
	t.Run("keeps status", func(t *testing.T) { keepsStatus(t, config) })
	t.Run("prints columns", func(t *testing.T) { printsColumns(t, config) })
}

// Every good object is taken and every bad one refused, for the reason and at the field that the case names.
func keepsRules(t *testing.T, server client.Client) {
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Title(), func(t *testing.T) {
			if err := apply(t, server, c.Old, c.Good); err != nil {
				t.Errorf("good object refused: %v", err)
			}
			err := apply(t, server, c.Old, c.Bad)
			if !apierrors.IsInvalid(err) {
				t.Fatalf("bad object: got error %v, want Invalid", err)
			}
			if !names(err, c.Path, c.Message) {
				t.Errorf("bad object: got %v\nwant %q at %s", causes(err), c.Message, c.Path)
			}
		})
	}
}

// Under strict validation, which kubectl asks for.
func refusesUnknownFields(t *testing.T, server client.Client) {
	objects, err := FullObjects()
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		if err := unstructured.SetNestedField(object.Object, "x", "spec", "unheardOf"); err != nil {
			t.Fatal(err)
		}
		err := client.WithFieldValidation(server, metav1.FieldValidationStrict).Create(t.Context(), object, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), `unknown field "spec.unheardOf"`) {
			t.Errorf("%s %s: got error %v, want an unknown field", object.GetKind(), object.GetName(), err)
		}
	}
}

func takesFullObjects(t *testing.T, server client.Client) {
	objects, err := FullObjects()
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects {
		err := client.WithFieldValidation(server, metav1.FieldValidationStrict).Create(t.Context(), object, client.DryRunAll)
		if err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

func takesSamples(t *testing.T, server client.Client) {
	for _, name := range []string{"ratelimitpolicy", "ratelimitpolicy-algorithms", "ratelimitpolicy-grpc", "idempotencypolicy", "callbackroute"} {
		text, err := os.ReadFile(filepath.Join("../../config/samples", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Fatal(err)
		}
		object.SetNamespace("default")
		err = client.WithFieldValidation(server, metav1.FieldValidationStrict).Create(t.Context(), object, client.DryRunAll)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func startServer(t *testing.T) *rest.Config {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: `make test` builds kube-apiserver and etcd and sets it")
	}
	environment := &envtest.Environment{CRDDirectoryPaths: []string{"../../config/crd"}, ErrorIfCRDPathMissing: true}
	config, err := environment.Start()
	if err != nil {
		t.Fatalf("start API server: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stop API server: %v", err)
		}
	})
	return config
}

// apply creates object, or replaces old by it. It leaves nothing behind.
func apply(t *testing.T, server client.Client, old, object *unstructured.Unstructured) error {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	object = object.DeepCopy()
	if old == nil {
		return server.Create(ctx, object, client.DryRunAll)
	}
	stored := old.DeepCopy()
	if err := server.Create(ctx, stored); err != nil {
		t.Fatalf("create the old object: %v", err)
	}
	defer func() {
		if err := server.Delete(ctx, stored); err != nil {
			t.Errorf("delete the old object: %v", err)
		}
	}()
	object.SetResourceVersion(stored.GetResourceVersion())
	return server.Update(ctx, object)
}

func causes(err error) []metav1.StatusCause {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	return status.Status().Details.Causes
}

func names(err error, path, message string) bool {
	for _, cause := range causes(err) {
		if cause.Field == path && strings.Contains(cause.Message, message) {
			return true
		}
	}
	return false
}
