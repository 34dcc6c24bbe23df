// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// A real API server takes every good object and refuses every bad one, for the reason and at the field the case names.
func TestServerKeepsRules(t *testing.T) {
	server := startServer(t)
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

// An unknown field is an error under strict validation, which kubectl asks for.
func TestServerRefusesUnknownFields(t *testing.T) {
	server := client.WithFieldValidation(startServer(t), metav1.FieldValidationStrict)
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	object := cases[0].Good.DeepCopy()
	if err := unstructured.SetNestedField(object.Object, "x", "spec", "limit"); err != nil {
		t.Fatal(err)
	}
	if err := server.Create(t.Context(), object); err == nil || !strings.Contains(err.Error(), `unknown field "spec.limit"`) {
		t.Errorf("got %v, want an unknown field", err)
	}
}

func startServer(t *testing.T) client.Client {
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
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
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
