// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/controllers/attach"
	"weir.dev/weir/controllers/config"
)

var update = flag.Bool("update", false, "write what the tests get as what they want")

// TestGolden compiles every testdata/*.in.yaml and compares with *.out.yaml.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			out := Compile(readInput(t, file))
			for _, w := range out.Workloads {
				if err := snapshot.Validate(w.Snapshot); err != nil {
					t.Errorf("snapshot of %s: %v", w.Key, err)
				}
			}
			got := printOutput(t, out)
			golden := filepath.Join("testdata", name+".out.yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("(-want +got; -update writes it):\n%s", d)
			}
		})
	}
}

// readInput reads documents of the API's kinds, and more: Config, whose spec is the
// operator's configuration, Credentials, whose spec is versions by store, Secrets,
// whose spec is what is known of them by name, and SharedStores.
func readInput(t *testing.T, file string) Input {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Cluster: "c1", Namespace: "shop", Config: config.Default(), NamespaceKey: "key-1"}
	for i, doc := range bytes.Split(text, []byte("\n---\n")) {
		if err := addDocument(&in, doc); err != nil {
			t.Fatalf("%s, document %d: %v", file, i+1, err)
		}
	}
	return in
}

func addDocument(in *Input, doc []byte) error {
	var head metav1.TypeMeta
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return err
	}
	switch head.Kind {
	case "Config":
		var c struct {
			Kind string          `json:"kind"`
			Spec json.RawMessage `json:"spec"`
		}
		if err := yaml.UnmarshalStrict(doc, &c); err != nil {
			return err
		}
		var err error
		in.Config, err = config.Parse(c.Spec)
		return err
	case "Credentials":
		return spec(doc, &in.Credentials)
	case "Secrets":
		return spec(doc, &in.Secrets)
	case "SharedStores":
		return spec(doc, &in.SharedStores)
	case "Namespace":
		var n corev1.Namespace
		err := yaml.UnmarshalStrict(doc, &n)
		in.NamespaceLabels = n.Labels
		return err
	case "Service":
		return add(&in.Services, doc)
	case "Pod":
		return add(&in.Pods, doc)
	case v1alpha1.KindRateLimitPolicy:
		return add(&in.RateLimitPolicies, doc)
	case v1alpha1.KindIdempotencyPolicy:
		return add(&in.IdempotencyPolicies, doc)
	case v1alpha1.KindCallbackRoute:
		return add(&in.CallbackRoutes, doc)
	}
	return fmt.Errorf("kind %q is not known", head.Kind)
}

// spec reads that of a document, which has nothing else.
func spec[T any](doc []byte, into *T) error {
	var c struct {
		Kind string `json:"kind"`
		Spec T      `json:"spec"`
	}
	err := yaml.UnmarshalStrict(doc, &c)
	*into = c.Spec
	return err
}

func add[T any](list *[]T, doc []byte) error {
	var x T
	err := yaml.UnmarshalStrict(doc, &x)
	*list = append(*list, x)
	return err
}

type printedWorkload struct {
	Services []string        `json:"services"`
	Pods     []string        `json:"pods"`
	Snapshot json.RawMessage `json:"snapshot"`
	Peers    json.RawMessage `json:"peers,omitempty"`
}

type printedVerdict struct {
	Policy  string          `json:"policy"`
	Reason  string          `json:"reason"`
	Message string          `json:"message"`
	Shadow  []string        `json:"shadow,omitempty"`
	Address []string        `json:"byAddress,omitempty"`
	Store   string          `json:"store,omitempty"`
	Targets []printedTarget `json:"targets"`
}

type printedTarget struct {
	Target  string   `json:"target"`
	Reason  string   `json:"reason"`
	Message string   `json:"message,omitempty"`
	Pods    []string `json:"pods,omitempty"`
	Bypass  []string `json:"bypass,omitempty"`
}

func printOutput(t *testing.T, out Output) []byte {
	t.Helper()
	var all struct {
		Workloads  []printedWorkload `json:"workloads"`
		Unselected []string          `json:"unselected,omitempty"`
		Verdicts   []printedVerdict  `json:"verdicts"`
	}
	for _, w := range out.Workloads {
		all.Workloads = append(all.Workloads, printedWorkload{
			Services: w.Services, Pods: podNames(w.Pods), Snapshot: asJSON(t, w.Snapshot), Peers: asJSON(t, w.Peers),
		})
	}
	all.Unselected = podNames(out.Unselected)
	for _, v := range out.Verdicts {
		p := printedVerdict{Policy: v.Policy.String(), Reason: string(v.Reason), Message: v.Message, Shadow: v.Shadow}
		if v.Policy.Kind == v1alpha1.KindIdempotencyPolicy {
			p.Address, p.Store = v.ByAddress, v.Store
		}
		for _, target := range v.Targets {
			p.Targets = append(p.Targets, printedTarget{
				Target: target.Name + "/" + target.SectionName, Reason: string(target.Reason), Message: target.Message,
				Pods: podNames(target.Pods), Bypass: target.Bypass,
			})
		}
		all.Verdicts = append(all.Verdicts, p)
	}
	text, err := yaml.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func podNames(pods []attach.Pod) []string {
	var out []string
	for _, p := range pods {
		name := p.Name
		if p.Ready {
			name += " ready"
		}
		if p.Sidecar {
			name += " sidecar"
		}
		out = append(out, name)
	}
	return out
}

func asJSON(t *testing.T, m proto.Message) json.RawMessage {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
