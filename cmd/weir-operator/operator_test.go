// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/admission"
	"weir.dev/weir/controllers/rollout"
)

const system = "weir-system"

// cluster is an API server on which the operator has the rights of config/rbac alone.
type cluster struct {
	*testing.T
	admin    client.Client
	operator *rest.Config
	dir      string
}

func newCluster(t *testing.T) cluster {
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
	user, err := environment.AddUser(envtest.User{Name: "weir-operator"}, config)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{T: t, admin: admin, operator: user.Config(), dir: t.TempDir()}
	c.namespace(system, nil)
	for _, o := range manifests(t, "../../config/rbac/role.yaml") {
		// The Roles as they are shipped, for the test's user.
		if strings.HasSuffix(o.GetKind(), "Binding") {
			o.Object["subjects"] = []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "weir-operator"}}
		}
		c.create(o)
	}
	return c
}

// manifests reads a file of config/.
func manifests(t *testing.T, path string) []*unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []*unstructured.Unstructured
	for doc := range strings.SplitSeq(string(text), "\n---") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
	return out
}

func (c cluster) create(o client.Object) {
	c.Helper()
	if err := c.admin.Create(c.Context(), o); err != nil {
		c.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
}

func (c cluster) namespace(name string, labels map[string]string) {
	c.Helper()
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	for _, account := range []string{"default", "weir-operator"} {
		c.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: account}})
	}
}

func (c cluster) eventually(what string, check func() error) {
	c.Helper()
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	c.Fatalf("%s: %v", what, err)
}

// token of a ServiceAccount, bound to a pod.
func (c cluster) token(account string, pod *corev1.Pod) string {
	c.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: account}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:      []string{podspec.Audience},
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if err := c.admin.SubResource("token").Create(c.Context(), sa, request); err != nil {
		c.Fatal(err)
	}
	return request.Status.Token
}

func (c cluster) pod(namespace, name, account string, labels map[string]string) *corev1.Pod {
	c.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec: corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{
			{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}},
		}},
	}
	c.eventually("create pod "+name, func() error {
		out := pod.DeepCopy()
		if err := c.admin.Create(c.Context(), out); err != nil {
			return err
		}
		*pod = *out
		return nil
	})
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	if err := c.admin.Status().Update(c.Context(), pod); err != nil {
		c.Fatal(err)
	}
	return pod
}

type replica struct {
	options
	stop func()
	done chan error
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// start runs a replica as main does.
func (c cluster) start(name string) *replica {
	c.Helper()
	own := c.pod(system, name, "weir-operator", nil)
	file := func(name, content string) string {
		path := filepath.Join(c.dir, own.Name+"-"+name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			c.Fatal(err)
		}
		return path
	}
	local := func() string { return fmt.Sprintf("127.0.0.1:%d", freePort(c.T)) }
	o := parse(c.T, map[string]string{"POD_NAME": own.Name, "POD_IP": "127.0.0.1"},
		"--config="+file("config.yaml", "stores: [{name: default, redis: {addresses: ['127.0.0.1:1']}}]\n"), "--token-file="+file("token", c.token("weir-operator", own)),
		"--image=weir-sidecar:test", fmt.Sprintf("--webhook-port=%d", freePort(c.T)), "--stream-address="+local(),
		"--metrics-address=0", "--health-address="+local(), "--admin-address="+local(), "--certificate-name=localhost",
		"--shutdown-delay=10ms", "--cluster-id=test",
	)
	if err := o.check(); err != nil {
		c.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(c.Context()))
	r := &replica{options: o, stop: stop, done: make(chan error, 1)}
	log := slog.New(slog.NewTextHandler(testOutput{c.T}, nil))
	go func() { r.done <- run(ctx, o, c.operator, prometheus.NewRegistry(), log) }()
	c.Cleanup(r.end(c.T))
	return r
}

// testOutput shows the log of a test that fails.
type testOutput struct{ t *testing.T }

func (o testOutput) Write(b []byte) (int, error) {
	o.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// end stops the replica, once.
func (r *replica) end(t *testing.T) func() {
	return func() {
		r.stop()
		if err, ok := <-r.done; ok && err != nil {
			t.Errorf("%s: %v", r.podName, err)
		}
	}
}

func fetch(url string) ([]byte, error) {
	response, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", response.Status, body))
	}
	return body, err
}

// sidecar acks what the replica streams to the pod.
func (c cluster) sidecar(r *replica, pod *corev1.Pod) {
	c.Helper()
	cm := &corev1.ConfigMap{}
	if err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: pod.Namespace, Name: podspec.ConfigMapCA}, cm); err != nil {
		c.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cm.Data[podspec.KeyCA]))
	conn, err := grpc.NewClient("passthrough:///"+r.streamListen, grpc.WithTransportCredentials(credentials.NewTLS(
		&tls.Config{ServerName: "weir-operator.weir-system.svc", RootCAs: roots, MinVersion: tls.VersionTLS13})))
	if err != nil {
		c.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(c.Context(), "authorization", "Bearer "+c.token("default", pod))
	ready := make(chan error, 1)
	go func() {
		defer func() { _ = conn.Close() }()
		s, err := stream.NewConfigClient(conn).Connect(ctx)
		if err == nil {
			err = s.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Hello{
				Hello: &stream.Hello{Version: "test", Features: []string{stream.FeatureRateLimit}},
			}})
		}
		for err == nil {
			var m *stream.ToSidecar
			if m, err = s.Recv(); err != nil {
				break
			}
			if update := m.GetSnapshot(); update != nil {
				err = s.Send(&stream.FromSidecar{Message: &stream.FromSidecar_Ack{Ack: &stream.Ack{Hash: update.GetHash()}}})
				select {
				case ready <- nil:
				default:
				}
			}
		}
		select {
		case ready <- err:
		default:
		}
	}()
	if err := <-ready; err != nil {
		c.Fatalf("stream of %s from %s: %v", pod.Name, r.podName, err)
	}
}

// Two replicas of the whole operator with the rights of the chart: one leads, both
// serve, and a policy is Programmed by the ack that the other one took.
func TestOperator(t *testing.T) {
	c := newCluster(t)
	a, b := c.start("weir-operator-a"), c.start("weir-operator-b")
	url := fmt.Sprintf("https://localhost:%d%s", b.webhookPort, admission.Path)
	for _, o := range manifests(t, "../../config/webhook/manifests.yaml") {
		hooks, _, _ := unstructured.NestedSlice(o.Object, "webhooks")
		for _, h := range hooks {
			h.(map[string]any)["clientConfig"] = map[string]any{"url": url} // no pod network here
		}
		if err := unstructured.SetNestedSlice(o.Object, hooks, "webhooks"); err != nil {
			t.Fatal(err)
		}
		c.create(o)
	}
	for _, r := range []*replica{a, b} {
		c.eventually(r.podName+" is ready", func() error { _, err := fetch("http://" + r.healthAddress + "/readyz"); return err })
	}
	leader, other := a, b
	c.eventually("one leads", func() error {
		views := map[*replica]rollout.View{}
		for _, r := range []*replica{a, b} {
			body, err := fetch("http://" + r.adminAddress + "/rollout")
			if err != nil {
				return err
			}
			var v rollout.View
			if err := json.Unmarshal(body, &v); err != nil {
				return err
			}
			views[r] = v
		}
		if views[a].Leading == views[b].Leading {
			return fmt.Errorf("leading: %v and %v", views[a].Leading, views[b].Leading)
		}
		if views[b].Leading {
			leader, other = b, a
		}
		return nil
	})

	c.namespace("shop", map[string]string{podspec.LabelInject: podspec.InjectEnabled})
	pod := c.pod("shop", "payments-1", "default", map[string]string{"app": "payments"})
	if got := pod.Spec.InitContainers; len(got) == 0 || got[0].Env[0].Value != b.streamAddress() {
		t.Fatalf("init containers of the pod: %+v", got)
	}
	c.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "payments"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "payments"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	})
	policy := &v1alpha1.RateLimitPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "payments"},
		Spec: v1alpha1.RateLimitPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Limits:     []v1alpha1.Limit{{Name: "all", Limit: 5, Window: "60s", Scope: v1alpha1.LimitScopePod}},
		},
	}
	c.create(policy)
	c.sidecar(other, pod)
	programmed := func() error {
		if err := c.admin.Get(c.Context(), client.ObjectKeyFromObject(policy), policy); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(policy.Status.Conditions, string(v1alpha1.ConditionProgrammed)) {
			return fmt.Errorf("conditions %+v", policy.Status.Conditions)
		}
		return nil
	}
	c.eventually("policy is Programmed", programmed)

	// The leader goes at once and without an error; the other one takes over.
	leader.stop()
	if err := <-leader.done; err != nil {
		t.Errorf("the leader ended with %v", err)
	}
	close(leader.done)
	policy.Spec.Limits[0].Limit = 6
	if err := c.admin.Update(c.Context(), policy); err != nil {
		t.Fatal(err)
	}
	c.eventually("the next generation is Programmed", func() error {
		if err := programmed(); err != nil {
			return err
		}
		cond := meta.FindStatusCondition(policy.Status.Conditions, string(v1alpha1.ConditionProgrammed))
		if cond.ObservedGeneration != policy.Generation {
			return fmt.Errorf("of generation %d, not %d", cond.ObservedGeneration, policy.Generation)
		}
		return nil
	})
	c.readsSecrets()
}
