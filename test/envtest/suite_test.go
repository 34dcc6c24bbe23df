// SPDX-License-Identifier: Apache-2.0

package envtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/go-logr/logr"

	"weir.dev/weir/api/v1alpha1"
)

const systemNamespace = "weir-system"

// server is the API server of all tests; each has namespaces of its own.
var server struct {
	config *rest.Config
	scheme *runtime.Scheme
	client client.Client
	kube   *kubernetes.Clientset
	names  atomic.Int64
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		fmt.Fprintln(os.Stderr, "KUBEBUILDER_ASSETS is not set: it names a directory with kube-apiserver and etcd. `make test` builds them and sets it.")
		return 1
	}
	ctrl.SetLogger(logr.Discard())
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd")},
		ErrorIfCRDPathMissing: true,
	}
	config, err := environment.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server:", err)
		return 1
	}
	defer func() { _ = environment.Stop() }()
	config.QPS, config.Burst = 500, 1000
	if err := connect(config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func connect(config *rest.Config) error {
	server.config, server.scheme = config, runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(server.scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(server.scheme); err != nil {
		return err
	}
	var err error
	if server.client, err = client.New(config, client.Options{Scheme: server.scheme}); err != nil {
		return err
	}
	if server.kube, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	ctx := context.Background()
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "weir-operator", Namespace: systemNamespace}},
	} {
		if err := server.client.Create(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// newNamespace makes a namespace with the ServiceAccount that pods have.
func newNamespace(t *testing.T) string {
	t.Helper()
	name := fmt.Sprintf("shop-%d", server.names.Add(1))
	create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}})
	return name
}

func create(t *testing.T, o client.Object) {
	t.Helper()
	if err := server.client.Create(t.Context(), o); err != nil {
		t.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
}

// eventually waits until check returns nil.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(40 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
