// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
	"weir.dev/weir/cmd/weir/internal/kube"
	"weir.dev/weir/cmd/weir/internal/local"
	"weir.dev/weir/cmd/weir/internal/term"
	"weir.dev/weir/cmd/weir/internal/why"
	"weir.dev/weir/controllers/compile"
	"weir.dev/weir/controllers/jwks"
)

// whyFlags are those of `weir why`.
type whyFlags struct {
	kube.Flags
	files, headers            []string
	request, protocol, output string
	clientIP, peer            string
	count                     int
	service, port             string
	providers                 []string
	now                       time.Time
}

func whyCommand() *cobra.Command {
	f := whyFlags{now: time.Now()}
	c := &cobra.Command{
		Use:   "why [SERVICE[/PORT]] --request 'METHOD PATH'",
		Short: "Explain what the policies make of a request",
		Long: `Why says which policy governs a port, which of its limits hold for a request and
why the others do not, what it is counted by, what would be decided, and what the
client would read; of an IdempotencyPolicy whose key it is and which, or why the
request passes unrecorded. The request goes through the sidecar's own code, with counters
that are fresh: nothing is sent anywhere, and nothing is counted.

With -f it asks about policy files. Without, it reads the policies, Services and
pods of the namespace, compiles them as the operator does, and says which pods
enforce just that.

A bearer token is verified with the keys that --jwt-provider names, against a cluster
by the issuer and audiences of its configuration. What is counted by a claim of it is
printed as a hash.

The exit code is 0 when there is an explanation, whatever the decision, else 1.`,
		Example: `  weir why -f policy.yaml --request 'POST /users/1/payments' -H 'X-Client-Id: a' --count 6
  weir why -n shop svc/payments --request 'POST /users/1/payments' --client-ip 203.0.113.7`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.service = args[0]
			}
			answer, err := f.answer(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if f.output != "table" {
				return term.Encode(cmd.OutOrStdout(), f.output, answer)
			}
			answer.Print(cmd.OutOrStdout())
			return nil
		},
	}
	f.Add(c.Flags())
	c.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "policy file, or a folder of them; may be given several times, - is standard input")
	c.Flags().StringVar(&f.request, "request", "", "method and path, as in 'POST /users/1/payments'")
	c.Flags().StringArrayVarP(&f.headers, "header", "H", nil, "header of the request, as in 'X-Client-Id: a'; may be given several times")
	c.Flags().StringVar(&f.clientIP, "client-ip", "", "the client's address; with --peer it is what X-Forwarded-For says")
	c.Flags().StringVar(&f.peer, "peer", "", "address that the connection comes from (default: --client-ip)")
	c.Flags().IntVar(&f.count, "count", 1, "explain the last of so many equal requests at once")
	c.Flags().StringVar(&f.protocol, "protocol", "", "with -f: what the port speaks, http, h2c, grpc, ws or auto (default: what its name says, else http)")
	jwtProviderFlag(c, &f.providers)
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (f *whyFlags) answer(ctx context.Context, stdin io.Reader, stderr io.Writer) (*why.Answer, error) {
	r, err := f.parse()
	if err != nil {
		return nil, err
	}
	if len(f.files) > 0 {
		return f.fromFiles(ctx, stdin, stderr, r)
	}
	if f.service == "" {
		return nil, errors.New("name a Service of the cluster, as in `weir why svc/payments --request …`, or policy files with -f")
	}
	if f.protocol != "" {
		return nil, errors.New("--protocol goes with -f: in a cluster the Service says what its port speaks")
	}
	cluster, err := f.Open()
	if err != nil {
		return nil, err
	}
	if cluster.Namespace == "" {
		return nil, errors.New("a request goes to one namespace: name it with -n in place of -A")
	}
	if err := f.addTokens(ctx, cluster); err != nil {
		return nil, err
	}
	return f.fromCluster(ctx, cluster, r)
}

func (f *whyFlags) parse() (why.Request, error) {
	if err := term.CheckFormat(f.output); err != nil {
		return why.Request{}, err
	}
	if f.request == "" {
		return why.Request{}, errors.New("--request is missing, as in --request 'POST /users/1/payments'")
	}
	r, err := why.ParseRequest(f.request, f.headers)
	if err != nil {
		return r, err
	}
	if r.Client, err = why.Address("--client-ip", f.clientIP); err != nil {
		return r, err
	}
	if r.Peer, err = why.Address("--peer", f.peer); err != nil {
		return r, err
	}
	if f.count < 1 || f.count > why.MaxCount {
		return r, fmt.Errorf("--count %d is not between 1 and %d", f.count, why.MaxCount)
	}
	r.Count = f.count
	for _, kind := range []string{"svc/", "service/", "services/"} {
		f.service = strings.TrimPrefix(f.service, kind)
	}
	f.service, f.port, _ = strings.Cut(f.service, "/")
	return r, nil
}

// fromFiles explains by what the operator would make of files.
func (f *whyFlags) fromFiles(ctx context.Context, stdin io.Reader, stderr io.Writer, r why.Request) (*why.Answer, error) {
	tokens, err := local.ParseJWT(ctx, f.providers, jwks.NewClient())
	if err != nil {
		return nil, err
	}
	files, err := local.NewFiles(f.files)
	if err != nil {
		return nil, err
	}
	policies, err := files.Read(ctx, stdin)
	if err != nil {
		return nil, err
	}
	printSkipped(term.New(stderr), policies)
	listeners := local.Implied(policies)
	at, err := f.listener(listeners)
	if err != nil {
		return nil, err
	}
	found := false
	for i := range listeners {
		if listeners[i].Name() == at.Name() {
			listeners[i].Protocol, found = f.protocol, true
		}
	}
	if !found {
		listeners = append(listeners, at)
	}
	result, err := local.Compile(policies, listeners, local.Settings{JWT: tokens})
	if err != nil {
		return nil, err
	}
	answer, err := why.Ask(ctx, why.Question{Snapshot: result.Snapshot, Port: at.Name(), Request: r, Now: f.now})
	if err != nil {
		return nil, err
	}
	answer.Source = "By the files " + strings.Join(f.files, ", ")
	for _, v := range result.Verdicts {
		governs := answer.Governs(v.Kind, policies.Namespace+"/"+v.Name)
		answer.Notes = append(answer.Notes, noted(v.Kind+" "+v.Name, r, v.Accepted, governs, v.Reason, v.Message)...)
	}
	return answer, nil
}

// listener is the port that is asked about, of those that policies name.
func (f *whyFlags) listener(all []local.Listener) (local.Listener, error) {
	var fits []local.Listener
	var names []string
	for _, l := range all {
		names = append(names, l.Name())
		if (f.service == "" || l.Service == f.service) && (f.port == "" || l.Port == f.port) {
			fits = append(fits, l)
		}
	}
	switch {
	case len(fits) == 1:
		return fits[0], nil
	case len(all) == 0:
		return local.Listener{}, errors.New("the files hold no policy that is about a port of a Service")
	case len(fits) > 1:
		return local.Listener{}, fmt.Errorf("the policies are about %s: name one of them, as in `weir why %s -f …`", strings.Join(names, ", "), fits[0].Name())
	case f.port == "":
		return local.Listener{}, fmt.Errorf("no policy is about the Service %s; they are about %s", f.service, strings.Join(names, ", "))
	}
	return local.Listener{Service: f.service, Port: f.port, Protocol: f.protocol}, nil
}

// fromCluster explains by what the operator makes of a namespace.
func (f *whyFlags) fromCluster(ctx context.Context, cluster *kube.Cluster, r why.Request) (*why.Answer, error) {
	live, err := cluster.Compile(ctx)
	if err != nil {
		return nil, err
	}
	w, port, err := live.WorkloadOf(f.service, f.port)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", cluster.Namespace, err)
	}
	answer, err := why.Ask(ctx, why.Question{Snapshot: w.Snapshot, Port: port, Request: r, Now: f.now})
	if err != nil {
		return nil, err
	}
	answer.Source = "By the policies, Services and pods of namespace " + cluster.Namespace + " as they are"
	answer.Notes = append(answer.Notes, live.Notes...)
	answer.Notes = append(answer.Notes, keyless(w.Snapshot, answer)...)
	for i := range live.Verdicts {
		v := &live.Verdicts[i]
		governs := answer.Governs(v.Policy.Kind, cluster.Namespace+"/"+v.Policy.Name)
		if governs || aims(v, f.service) {
			answer.Notes = append(answer.Notes, noted(v.Policy.Kind+" "+v.Policy.Name, r, v.Accepted(), governs, string(v.Reason), v.Message)...)
		}
	}
	if answer.Policy != "" || answer.Idempotency != nil {
		f.addPods(ctx, cluster, &live, w, answer)
	}
	return answer, nil
}

// noted is what a verdict on a policy adds: why it is not accepted, or of the one that
// governs the warnings about what the request has sent.
func noted(policy string, r why.Request, accepted, governs bool, reason, message string) []string {
	if !accepted {
		return []string{fmt.Sprintf("%s is not accepted: %s: %s", policy, reason, message)}
	}
	var out []string
	for _, warning := range strings.Split(message, "Warning: ")[1:] {
		about := func(f why.Field) bool { return strings.Contains(warning, " "+strings.ToLower(f.Name)) }
		if governs && slices.ContainsFunc(r.Fields, about) {
			out = append(out, strings.TrimSpace(warning))
		}
	}
	return out
}

// addTokens gives the cluster the keys of --jwt-provider.
func (f *whyFlags) addTokens(ctx context.Context, cluster *kube.Cluster) error {
	tokens, err := local.ParseJWT(ctx, f.providers, jwks.NewClient())
	cluster.JWTProviders, cluster.JWTKeys = tokens.Providers, tokens.Keys
	return err
}

// keyless says of which providers the governing policies' tokens cannot be verified here.
func keyless(s *snapshot.Snapshot, answer *why.Answer) []string {
	claims := map[string]bool{}
	for p := range snapshot.Policies(s) {
		id := snapshot.IDOf(p)
		if !answer.Governs(id.Kind, s.GetWorkload().GetNamespace()+"/"+id.Name) {
			continue
		}
		for provider := range snapshot.JWTClaims(p) {
			claims[provider] = true
		}
	}
	var out []string
	for _, provider := range s.GetJwtProviders() {
		if name := provider.GetName(); claims[name] && len(provider.GetKeys()) == 0 {
			out = append(out, fmt.Sprintf("The keys of JWT provider %[1]s are the operator's and not known here, so that no token of it is valid: "+
				"give them with --jwt-provider name=%[1]s,issuer=%[2]s,jwks=FILE|URL.", name, provider.GetIssuer()))
		}
	}
	return out
}

// aims reports whether a policy names the Service.
func aims(v *compile.Verdict, service string) bool {
	for _, t := range v.Targets {
		if t.Name == service {
			return true
		}
	}
	return false
}

// addPods says which pods have acked the generations that are explained.
func (f *whyFlags) addPods(ctx context.Context, cluster *kube.Cluster, live *kube.Live, w *compile.Workload, answer *why.Answer) {
	states, err := cluster.PodStates(ctx)
	if err != nil {
		answer.Notes = append(answer.Notes, fmt.Sprintf("What each pod has acked is not known: %v", err))
		return
	}
	for i := range live.Verdicts {
		v := &live.Verdicts[i]
		if !answer.Governs(v.Policy.Kind, cluster.Namespace+"/"+v.Policy.Name) {
			continue
		}
		var pods []why.Pod
		for _, p := range w.Pods {
			g := kube.Acked(states, p.UID, v.Policy)
			pods = append(pods, why.Pod{Name: p.Name, Generation: g, Current: g == v.Generation && g > 0})
		}
		if v.Policy.Kind == v1alpha1.KindIdempotencyPolicy {
			answer.Idempotency.Pods = pods
		} else {
			answer.Pods = pods
		}
	}
}
