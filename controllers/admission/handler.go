// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"weir.dev/weir/api/podspec"
	"weir.dev/weir/controllers/inject"
)

// Path of the webhook.
const Path = "/inject"

// Trust makes sure that a namespace has the trust bundle; *pki.Trust is one.
type Trust interface {
	Ensure(ctx context.Context, namespace string) error
}

// Handler answers admission reviews of pods.
type Handler struct {
	// Profile of all namespaces; the namespace's labels are filled in.
	Profile inject.Profile
	// Cache and Live read namespaces. Cache may be behind: a "no" is asked for again.
	Cache, Live client.Reader
	Trust       Trust
	Events      events.EventRecorder
	Metrics     *Metrics
	Log         logr.Logger
}

// Handle implements admission.Handler.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Create || req.SubResource != "" {
		return admission.Allowed("only pods that are created are injected")
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(req.Object.Raw, pod); err != nil {
		return h.failed(req, http.StatusBadRequest, fmt.Errorf("decode the pod: %w", err))
	}
	out, reasons, err := h.inject(ctx, req.Namespace, pod)
	if err != nil {
		return h.failed(req, http.StatusInternalServerError, err)
	}
	first, injected := inject.Outcome(reasons)
	if first.Code.Effect() == inject.EffectRefuse {
		h.tell(req, pod, reasons)
		h.count(req, resultRefused, first.Code)
		return refused(reasons)
	}
	if injected && !dryRun(req) {
		if err := h.Trust.Ensure(ctx, req.Namespace); err != nil {
			return h.failed(req, http.StatusInternalServerError, fmt.Errorf(
				"the CA that the sidecar needs could not be written to namespace %s: %w", req.Namespace, err))
		}
	}
	merged, err := inject.Overlay(req.Object.Raw, pod, out)
	if err != nil {
		return h.failed(req, http.StatusInternalServerError, fmt.Errorf("write the pod: %w", err))
	}
	h.tell(req, pod, reasons)
	if injected {
		h.count(req, resultInjected, "")
	} else {
		h.count(req, resultSkipped, first.Code)
	}
	response := admission.PatchResponseFromRaw(req.Object.Raw, merged)
	response.Warnings = warnings(reasons)
	return response
}

// inject reads the namespace's labels. Who called the webhook found them to opt
// in, so a cache that says otherwise is behind.
func (h *Handler) inject(ctx context.Context, namespace string, pod *corev1.Pod) (*corev1.Pod, []inject.Reason, error) {
	if pod.Labels[podspec.LabelInject] == podspec.InjectDisabled {
		out, reasons := inject.Inject(pod, h.Profile) // whatever the namespace says
		return out, reasons, nil
	}
	var out *corev1.Pod
	var reasons []inject.Reason
	for _, from := range []struct {
		reader client.Reader
		last   bool
	}{{h.Cache, false}, {h.Live, true}} {
		ns := &corev1.Namespace{}
		if err := from.reader.Get(ctx, client.ObjectKey{Name: namespace}, ns); err != nil {
			if from.last {
				return nil, nil, fmt.Errorf("read namespace %s: %w", namespace, err)
			}
			continue
		}
		profile := h.Profile
		profile.NamespaceLabels = ns.Labels
		out, reasons = inject.Inject(pod, profile)
		if first, _ := inject.Outcome(reasons); first.Code != inject.NotEnabled {
			break
		}
	}
	return out, reasons, nil
}

func (h *Handler) failed(req admission.Request, code int32, err error) admission.Response {
	h.Log.Error(err, "pod not admitted", "namespace", req.Namespace, "pod", req.Name)
	h.count(req, resultFailed, "")
	return admission.Errored(code, err)
}

func (h *Handler) count(req admission.Request, result string, reason inject.Code) {
	if !dryRun(req) {
		h.Metrics.count(result, string(reason))
	}
}

// refused answers as validation does: the request is at fault.
func refused(reasons []inject.Reason) admission.Response {
	var messages []string
	for _, r := range reasons {
		if r.Code.Effect() == inject.EffectRefuse {
			messages = append(messages, r.Field+": "+r.Message)
		}
	}
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{
		Allowed: false,
		Result: &metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
			Message: strings.Join(messages, " "),
		},
	}}
}

// warnings go to whoever creates the pod.
func warnings(reasons []inject.Reason) []string {
	var out []string
	for _, r := range reasons {
		if !r.Code.Quiet() {
			out = append(out, "weir: "+r.String())
		}
	}
	return out
}

// noteBytes is what an event's note may have.
const noteBytes = 1024

// tell writes events on the pod's owner: the pod itself isn't there yet, and may
// never be.
func (h *Handler) tell(req admission.Request, pod *corev1.Pod, reasons []inject.Reason) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || dryRun(req) {
		return
	}
	on := &corev1.ObjectReference{
		APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, UID: owner.UID, Namespace: req.Namespace,
	}
	for _, r := range reasons {
		if r.Code.Quiet() {
			continue
		}
		kind := corev1.EventTypeWarning
		if r.Code.Effect() == inject.EffectNote {
			kind = corev1.EventTypeNormal
		}
		h.Events.Eventf(on, nil, kind, string(r.Code), action(r.Code), "%s", note(r))
	}
}

// note is not cut within a character: half of one takes more bytes than it has.
func note(r inject.Reason) string {
	text := r.Message
	if r.Field != "" {
		text = r.Field + ": " + text
	}
	return strings.ToValidUTF8(text[:min(len(text), noteBytes)], "")
}

func action(c inject.Code) string {
	switch c.Effect() {
	case inject.EffectSkip:
		return "SkipInjection"
	case inject.EffectRefuse:
		return "RefusePod"
	default:
		return "Inject"
	}
}

func dryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }
