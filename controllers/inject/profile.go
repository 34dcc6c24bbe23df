// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"math"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"weir.dev/weir/api/podspec"
)

// Profile is everything besides the pod that decides how it is injected.
type Profile struct {
	// Version of the injector, recorded in podspec.AnnotationInjected.
	Version string
	// Image of the sidecar, recorded in podspec.AnnotationImage.
	Image string
	// PullPolicy of the image; empty is IfNotPresent.
	PullPolicy corev1.PullPolicy
	// PullSecrets are names of Secrets that are added to the pod's
	// imagePullSecrets. They must exist in its namespace.
	PullSecrets []string
	// Operator is host:port of the config server.
	Operator string
	// Capture is podspec.CaptureAuto (also when empty), CaptureRedirect or
	// CaptureNamedPort, for pods that do not say.
	Capture string
	// OnMissingConfig is podspec.MissingDeny (also when empty) or
	// MissingPassThrough, for pods that do not say.
	OnMissingConfig string
	// Resources of the sidecar; DefaultResources for what is absent.
	Resources corev1.ResourceRequirements
	// LogLevel of the sidecar; empty is info.
	LogLevel string
	// NamespaceLabels are the labels of the pod's namespace.
	NamespaceLabels map[string]string
}

// DefaultResources are small requests, a memory limit, and no CPU limit, which
// would throttle every request of the app.
func DefaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    resource.MustParse("10m"),
			corev1.ResourceMemory: resource.MustParse("32Mi"),
		},
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("128Mi")},
	}
}

// resources are the profile's, with defaults for what it leaves out.
func (p Profile) resources() corev1.ResourceRequirements {
	r, defaults := *p.Resources.DeepCopy(), DefaultResources()
	for name, q := range defaults.Requests {
		if _, ok := r.Requests[name]; !ok {
			if limit, ok := r.Limits[name]; ok && limit.Cmp(q) < 0 {
				q = limit
			}
			r.Requests = with(r.Requests, name, q)
		}
	}
	for name, q := range defaults.Limits {
		if _, ok := r.Limits[name]; !ok {
			if request := r.Requests[name]; request.Cmp(q) > 0 {
				q = request
			}
			r.Limits = with(r.Limits, name, q)
		}
	}
	return r
}

func (p Profile) pullPolicy() corev1.PullPolicy {
	if p.PullPolicy == "" {
		return corev1.PullIfNotPresent
	}
	return p.PullPolicy
}

// podSecurityEnforce is the namespace label of Pod Security admission. Both
// baseline and restricted forbid NET_ADMIN.
const podSecurityEnforce = "pod-security.kubernetes.io/enforce"

func (p Profile) forbidsNetAdmin() bool {
	switch p.NamespaceLabels[podSecurityEnforce] {
	case "baseline", "restricted":
		return true
	}
	return false
}

// withCPU is r with a request of cpu. A limit below it is raised, because a pod
// whose limit is below its request is refused.
func withCPU(r corev1.ResourceRequirements, cpu resource.Quantity) corev1.ResourceRequirements {
	r.Requests = with(r.Requests, corev1.ResourceCPU, cpu)
	if limit, ok := r.Limits[corev1.ResourceCPU]; ok && limit.Cmp(cpu) < 0 {
		r.Limits = with(r.Limits, corev1.ResourceCPU, cpu)
	}
	return r
}

// withMemory is r with a limit of memory. A request above it is lowered.
func withMemory(r corev1.ResourceRequirements, memory resource.Quantity) corev1.ResourceRequirements {
	r.Limits = with(r.Limits, corev1.ResourceMemory, memory)
	if request, ok := r.Requests[corev1.ResourceMemory]; ok && request.Cmp(memory) > 0 {
		r.Requests = with(r.Requests, corev1.ResourceMemory, memory)
	}
	return r
}

func with(list corev1.ResourceList, name corev1.ResourceName, q resource.Quantity) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	list[name] = q
	return list
}

// goRuntime is GOMAXPROCS and GOMEMLIMIT for resources. Go itself would take
// every core of the node without a CPU limit, and at least two with one. Two are
// plenty for a sidecar that nobody gave more; its memory limit leaves a tenth for
// what Go does not count.
func goRuntime(r corev1.ResourceRequirements) []corev1.EnvVar {
	procs := int64(2)
	if limit, ok := r.Limits[corev1.ResourceCPU]; ok {
		procs = max(1, cores(limit))
	} else if request, ok := r.Requests[corev1.ResourceCPU]; ok {
		procs = max(procs, cores(request))
	}
	env := []corev1.EnvVar{{Name: "GOMAXPROCS", Value: strconv.FormatInt(procs, 10)}}
	if limit, ok := r.Limits[corev1.ResourceMemory]; ok {
		env = append(env, corev1.EnvVar{Name: "GOMEMLIMIT", Value: strconv.FormatInt(limit.Value()/10*9, 10)})
	}
	return env
}

func cores(q resource.Quantity) int64 {
	return int64(math.Ceil(q.AsApproximateFloat64()))
}

// meshContainers decrypt traffic before it reaches the app.
func meshContainer(name string) bool { return name == "istio-proxy" || name == "linkerd-proxy" }

func weirContainer(name string) bool {
	return name == podspec.ContainerSidecar || name == podspec.ContainerCapture
}

func weirVolume(name string) bool {
	return name == podspec.VolumeToken || name == podspec.VolumeCA || name == podspec.VolumeState
}
