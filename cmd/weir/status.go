// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/kube"
	"weir.dev/weir/cmd/weir/internal/term"
)

func statusCommand() *cobra.Command {
	var flags kube.Flags
	var output string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which policies are enforced, and which pod has acked what",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := term.CheckFormat(output); err != nil {
				return err
			}
			cluster, err := flags.Open()
			if err != nil {
				return err
			}
			s, err := readStatus(cmd.Context(), cluster)
			if err != nil {
				return err
			}
			if output != "table" {
				return term.Encode(cmd.OutOrStdout(), output, s)
			}
			s.print(cmd.OutOrStdout(), cluster.Namespace)
			return nil
		},
	}
	flags.Add(c.Flags())
	c.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// statusView is what `weir status -o json` prints.
type statusView struct {
	Policies []policyView `json:"policies"`
	Pods     []podView    `json:"pods"`
	// PodsError says why the operator could not be asked about pods.
	PodsError string `json:"podsError,omitempty"`
}

type policyView struct {
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"`
	Name       string `json:"name"`
	Target     string `json:"target"`
	Generation int64  `json:"generation"`
	Accepted   string `json:"accepted"`
	Programmed string `json:"programmed"`
	Current    int32  `json:"current"`
	Pods       int32  `json:"pods"`
	Message    string `json:"message,omitempty"`
}

type podView struct {
	Namespace string   `json:"namespace"`
	Pod       string   `json:"pod"`
	Version   string   `json:"version"`
	Connected bool     `json:"connected"`
	Since     string   `json:"since,omitempty"`
	Hash      string   `json:"hash"`
	Enforces  []string `json:"enforces"`
	Refused   string   `json:"refused,omitempty"`
}

func readStatus(ctx context.Context, c *kube.Cluster) (statusView, error) {
	s := statusView{Policies: []policyView{}, Pods: []podView{}}
	rl, id, cb, err := c.Policies(ctx)
	if err != nil {
		return s, err
	}
	for i := range rl {
		p := &rl[i]
		s.Policies = append(s.Policies, viewPolicy("RateLimitPolicy", &p.ObjectMeta, targets(p.Spec.TargetRefs), p.Status.PolicyStatus))
	}
	for i := range id {
		p := &id[i]
		s.Policies = append(s.Policies, viewPolicy("IdempotencyPolicy", &p.ObjectMeta, targets(p.Spec.TargetRefs), p.Status.PolicyStatus))
	}
	for i := range cb {
		p := &cb[i]
		s.Policies = append(s.Policies, viewPolicy("CallbackRoute", &p.ObjectMeta, "", p.Status.PolicyStatus))
	}
	pods, err := c.PodStates(ctx)
	if err != nil {
		s.PodsError = err.Error()
	}
	for _, p := range pods {
		s.Pods = append(s.Pods, viewPod(p))
	}
	sort.Slice(s.Pods, func(i, j int) bool {
		a, b := s.Pods[i], s.Pods[j]
		return a.Namespace < b.Namespace || a.Namespace == b.Namespace && a.Pod < b.Pod
	})
	return s, nil
}

func targets(refs []v1alpha1.TargetRef) string {
	var all []string
	for _, r := range refs {
		name := string(r.Name)
		if r.SectionName != "" {
			name += "/" + string(r.SectionName)
		}
		all = append(all, name)
	}
	return strings.Join(all, ",")
}

func viewPolicy(kind string, m *metav1.ObjectMeta, target string, s v1alpha1.PolicyStatus) policyView {
	v := policyView{Kind: kind, Namespace: m.Namespace, Name: m.Name, Target: target, Generation: m.Generation, Accepted: "Unknown", Programmed: "Unknown"}
	if r := s.Rollout; r != nil {
		v.Current, v.Pods = r.Current, r.Pods
	}
	for _, at := range []struct {
		kind v1alpha1.ConditionType
		to   *string
	}{{v1alpha1.ConditionAccepted, &v.Accepted}, {v1alpha1.ConditionProgrammed, &v.Programmed}} {
		c := meta.FindStatusCondition(s.Conditions, string(at.kind))
		switch {
		case c == nil:
		case c.ObservedGeneration < m.Generation:
			*at.to = "Unknown (not seen yet)"
		case c.Status == metav1.ConditionTrue && c.Reason == string(at.kind):
			*at.to = "True"
		default:
			*at.to = fmt.Sprintf("%s (%s)", c.Status, c.Reason)
			if v.Message == "" {
				v.Message = c.Message
			}
		}
	}
	return v
}

func viewPod(p *stream.PodState) podView {
	v := podView{Namespace: p.GetNamespace(), Pod: p.GetPod(), Version: p.GetVersion(), Connected: p.GetConnected(), Hash: p.GetAckedHash(), Enforces: []string{}}
	if t := p.GetSince(); t != nil {
		v.Since = t.AsTime().Format(time.RFC3339)
	}
	for _, a := range p.GetAcked() {
		v.Enforces = append(v.Enforces, fmt.Sprintf("%s@%d", a.GetPolicy(), a.GetGeneration()))
	}
	if n := p.GetNack(); n != nil {
		v.Refused = fmt.Sprintf("%s: %s", n.GetPolicy(), n.GetReason())
	}
	return v
}

// where says what was looked at: a namespace, or all.
func where(namespace string) string {
	if namespace == "" {
		return "in any namespace"
	}
	return "in namespace " + namespace
}

func (s statusView) print(w io.Writer, namespace string) {
	p := term.New(w)
	if len(s.Policies) == 0 {
		p.Printf("There is no policy %s.\n", where(namespace))
	} else {
		var rows [][]string
		for _, v := range s.Policies {
			rows = append(rows, []string{v.Namespace, v.Kind + "/" + v.Name, v.Target, v.Accepted, v.Programmed, fmt.Sprintf("%d/%d", v.Current, v.Pods)})
		}
		p.Table([]string{"NAMESPACE", "POLICY", "TARGET", "ACCEPTED", "PROGRAMMED", "PODS"}, rows)
		for _, v := range s.Policies {
			if v.Message != "" {
				p.Printf("%s %s/%s: %s\n", p.Warn("!"), v.Namespace, v.Name, v.Message)
			}
		}
	}
	if s.PodsError != "" {
		p.Printf("\n%s What each pod has acked is not known: %s\n", p.Warn("!"), s.PodsError)
		return
	}
	if len(s.Pods) == 0 {
		p.Printf("\nNo pod %s has a sidecar that the operator knows.\n", where(namespace))
		return
	}
	p.Printf("\n")
	var rows [][]string
	for _, v := range s.Pods {
		state := "connected"
		if !v.Connected {
			state = "away since " + v.Since
		}
		enforces := strings.Join(v.Enforces, " ")
		if v.Refused != "" {
			state += ", refused " + v.Refused
		}
		rows = append(rows, []string{v.Namespace, v.Pod, v.Version, short(v.Hash), enforces, state})
	}
	p.Table([]string{"NAMESPACE", "POD", "SIDECAR", "SNAPSHOT", "ENFORCES", "STATE"}, rows)
}

func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
