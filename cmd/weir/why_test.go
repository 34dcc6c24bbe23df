// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/kube"
	"weir.dev/weir/cmd/weir/internal/why"
)

var update = flag.Bool("update", false, "write the golden files")

// standing is when requests of tests are made: a slot of a minute begins.
var standing = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

const explained = "testdata/why/policy.yaml"

func TestWhy(t *testing.T) {
	for name, f := range map[string]whyFlags{
		"allowed":            {request: "POST /users/1/payments", headers: []string{"X-Client-Id: a", "X-Env: prod"}},
		"denied":             {request: "POST /users/1/payments", headers: []string{"X-Client-Id: a", "X-Env: prod"}, count: 6},
		"banned":             {request: "GET /banned", headers: []string{"X-Client-Id: a"}, count: 9},
		"in progress":        {request: "GET /reports/1", headers: []string{"Cookie: sid=x"}, count: 3},
		"exempt by address":  {request: "GET /reports/1", clientIP: "10.1.2.3"},
		"exempt by a header": {request: "GET /reports/1", headers: []string{"X-Probe: 1"}},
		"override":           {request: "GET /items", headers: []string{"X-Tenant: gold-co"}, count: 10},
		"unlimited":          {request: "GET /items", headers: []string{"X-Tenant: internal"}},
		"key is skipped":     {request: "GET /items"},
		"key twice":          {request: "GET /items", headers: []string{"X-Tenant: a", "X-Tenant: b"}, clientIP: "2001:db8::1"},
		"key is refused":     {request: "GET /strict"},
		"refused by proxy":   {request: "GET /a%2Fb"},
		"through a proxy":    {request: "GET /by-address", clientIP: "203.0.113.7", peer: "192.0.2.9"},
		"json":               {request: "POST /users/1/payments", headers: []string{"X-Client-Id: a"}, output: "json"},
		"nothing governs":    {request: "GET /", service: "payments/other"},
	} {
		t.Run(name, func(t *testing.T) {
			f.files, f.now, f.count = []string{explained}, standing, max(1, f.count)
			f.output = map[bool]string{true: "table", false: f.output}[f.output == ""]
			golden(t, name, print(t, &f))
		})
	}
}

// A gRPC call is answered as one.
func TestWhyOfGRPC(t *testing.T) {
	f := whyFlags{
		files: []string{"../../config/samples/ratelimitpolicy-grpc.yaml"}, now: standing, output: "table", count: 6,
		request: "POST /shop.v1.Ledger/Charge", headers: []string{"Content-Type: application/grpc", "X-Client-Id: a"},
	}
	golden(t, "grpc", print(t, &f))
}

func print(t *testing.T, f *whyFlags) string {
	t.Helper()
	answer, err := f.answer(t.Context(), nil, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	return printed(t, f.output, answer)
}

func printed(t *testing.T, output string, answer *why.Answer) string {
	t.Helper()
	var out bytes.Buffer
	if output == "table" {
		answer.Print(&out)
		return out.String()
	}
	e := json.NewEncoder(&out)
	e.SetIndent("", "  ")
	if err := e.Encode(answer); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// spread is what is drawn anew for each denial: when clients are to come again.
var spread = regexp.MustCompile(`((?:Retry-After|grpc-status-details-bin): )\S+`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = spread.ReplaceAllString(got, "${1}…")
	path := filepath.Join("testdata/why", strings.ReplaceAll(name, " ", "-")+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// Its exit code tells an explanation from none, and not what was decided.
func TestWhyRefusesWhatItCannotExplain(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string // part of the error; empty: none
	}{
		"a denial is an explanation": {[]string{"-f", explained, "--request", "GET /strict"}, ""},
		"no request":                 {[]string{"-f", explained}, "--request is missing"},
		"no path":                    {[]string{"-f", explained, "--request", "GET"}, "not a method and a path"},
		"two lines":                  {[]string{"-f", explained, "--request", "GET /\r\nX: y"}, "not a method and a path"},
		"a header in a header":       {[]string{"-f", explained, "--request", "GET /", "-H", "A: b\r\nC: d"}, "is not a header"},
		"no header":                  {[]string{"-f", explained, "--request", "GET /", "-H", "A"}, "is not a header"},
		"no address":                 {[]string{"-f", explained, "--request", "GET /", "--peer", "here"}, "--peer \"here\" is not an address"},
		"too many":                   {[]string{"-f", explained, "--request", "GET /", "--count", "1000001"}, "not between 1 and"},
		"no such format":             {[]string{"-f", explained, "--request", "GET /", "-o", "xml"}, "--output"},
		"which port":                 {[]string{"-f", "../../config/samples", "--request", "GET /"}, "name one of them"},
		"no such service":            {[]string{"-f", explained, "nobody", "--request", "GET /"}, "no policy is about the Service nobody"},
		"neither files nor service":  {[]string{"--request", "GET /"}, "name a Service"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := execute(t, "", append([]string{"why"}, test.args...)...)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// A workload is explained by what the cluster has.
func TestWhyOfAWorkload(t *testing.T) {
	policy := &v1alpha1.RateLimitPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "payments", Namespace: "shop", Generation: 3, UID: "u"},
		Spec: v1alpha1.RateLimitPolicySpec{
			TargetRefs: []v1alpha1.TargetRef{{Kind: "Service", Name: "payments"}},
			Limits: []v1alpha1.Limit{{
				Name: "per-client", Limit: 5, Window: "60s", Algorithm: v1alpha1.AlgorithmSlidingWindow,
				Key: []v1alpha1.KeyMember{{Header: "X-Client-Id"}},
			}},
		},
	}
	refused := policy.DeepCopy()
	refused.Name, refused.UID = "refunds", "v"
	refused.Spec.StoreRef.Name = "nobody"
	objects := []client.Object{
		policy, refused,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: "payments", Namespace: "shop"},
			Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": "payments"},
				Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}},
			},
		},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "payments-1", Namespace: "shop", UID: "p", Labels: map[string]string{"app": "payments"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
			Status:     corev1.PodStatus{PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		},
	}
	configuration := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "weir-config", Namespace: "weir-system"}, Data: map[string]string{
		"config.yaml": "stores: [{name: default, redis: {addresses: ['redis:6379'], credentials: {secret: redis}}}]\nidentity: {trustedProxies: [192.0.2.0/24], identityHeaders: [X-Client-Id]}\n",
	}}
	for name, test := range map[string]struct {
		objects       []client.Object
		service, port string
	}{
		"live":                       {append(objects, configuration), "payments", ""},
		"live without configuration": {objects, "payments", "http"},
		"live at another port":       {objects, "payments", "admin"},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
				if err := add(scheme); err != nil {
					t.Fatal(err)
				}
			}
			cluster := &kube.Cluster{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(test.objects...).Build(), Namespace: "shop", System: "weir-system"}
			f := whyFlags{
				now: standing, service: test.service, port: test.port, output: "table", count: 1,
				request: "GET /", headers: []string{"X-Client-Id: a"}, peer: "192.0.2.9", clientIP: "203.0.113.7",
			}
			r, err := f.parse()
			if err != nil {
				t.Fatal(err)
			}
			f.port = test.port
			answer, err := f.fromCluster(t.Context(), cluster, r)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, printed(t, "table", answer))
		})
	}
}
