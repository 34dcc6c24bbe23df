// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"weir.dev/weir/api/podspec"
)

// Fields that the API server would default are written out, so that a second
// call sees what the first has made.

const (
	// imageUser is the numeric user of Weir's image.
	imageUser = 65532
	// tokenSeconds is how long a projected token is valid; the kubelet renews it
	// before.
	tokenSeconds = 3600
	// stateBytes holds many times the largest snapshot, and notes on what is in flight
	// with the answers that wait for a store. What is used of it counts against the
	// sidecar's memory.
	stateBytes = 16 << 20
	// startSeconds is how long the sidecar may take to listen; nothing else of
	// the pod starts before.
	startSeconds = 60
)

func sidecarContainer(pod *corev1.Pod, profile Profile, s settings, c changes) (corev1.Container, error) {
	env, err := sidecarEnv(profile, s, c)
	if err != nil {
		return corev1.Container{}, err
	}
	security := restricted()
	if sc := pod.Spec.SecurityContext; sc != nil && sc.RunAsUser != nil && *sc.RunAsUser == 0 {
		// The image's own user would do, had the pod not replaced it with root.
		security.RunAsUser = new(int64(imageUser))
	}
	ports := []corev1.ContainerPort{port("weir-status", podspec.PortStatus)}
	for _, n := range c.named {
		ports = append(ports, port(n.Name, n.Listen))
	}
	out := container(podspec.ContainerSidecar, profile, "proxy")
	out.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
	out.Ports = ports
	out.Env = env
	out.Resources = containerResources(pod, s)
	out.VolumeMounts = []corev1.VolumeMount{
		{Name: podspec.VolumeToken, MountPath: podspec.DirToken, ReadOnly: true},
		{Name: podspec.VolumeCA, MountPath: podspec.DirCA, ReadOnly: true},
		{Name: podspec.VolumeState, MountPath: podspec.DirState},
	}
	// Listening is all that the start waits for: a store or operator that is away
	// must not keep the app down.
	out.StartupProbe = statusProbe("/healthz", 1, startSeconds)
	out.ReadinessProbe = statusProbe("/readyz", 2, 3)
	out.LivenessProbe = statusProbe("/healthz", 10, 6)
	out.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
		Exec: &corev1.ExecAction{Command: []string{podspec.Binary, "drain"}},
	}}
	out.SecurityContext = security
	return out, nil
}

func sidecarEnv(profile Profile, s settings, c changes) ([]corev1.EnvVar, error) {
	named, err := podspec.EncodeNamedPorts(c.named)
	if err != nil {
		return nil, err
	}
	probes, err := podspec.EncodeProbes(c.probes)
	if err != nil {
		return nil, err
	}
	env := []corev1.EnvVar{
		{Name: podspec.EnvOperator, Value: profile.Operator},
		downward(podspec.EnvPodName, "metadata.name"),
		downward(podspec.EnvPodNamespace, "metadata.namespace"),
		downward(podspec.EnvPodIPs, "status.podIPs"),
		{Name: podspec.EnvCapture, Value: s.capture},
		{Name: podspec.EnvOnMissingConfig, Value: s.onMissing},
	}
	for _, e := range []corev1.EnvVar{
		{Name: podspec.EnvNamedPorts, Value: named},
		{Name: podspec.EnvProbes, Value: probes},
		{Name: podspec.EnvLogLevel, Value: profile.LogLevel},
	} {
		if e.Value != "" {
			env = append(env, e)
		}
	}
	return append(env, goRuntime(s.resources)...), nil
}

// captureContainer sets the rules of the pod's network and ends. It comes after
// the sidecar listens, so that they never lead to nothing.
func captureContainer(pod *corev1.Pod, profile Profile, s settings) corev1.Container {
	security := restricted()
	security.RunAsUser = new(int64(0))
	security.RunAsNonRoot = new(false)
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	out := container(podspec.ContainerCapture, profile, "capture")
	if len(s.excluded) > 0 {
		list := make([]string, len(s.excluded))
		for i, p := range s.excluded {
			list[i] = strconv.Itoa(int(p))
		}
		out.Env = []corev1.EnvVar{{Name: podspec.EnvExcludePorts, Value: strings.Join(list, ",")}}
	}
	out.Resources = containerResources(pod, s)
	out.SecurityContext = security
	return out
}

func container(name string, profile Profile, command string) corev1.Container {
	return corev1.Container{
		Name:                     name,
		Image:                    profile.Image,
		ImagePullPolicy:          profile.pullPolicy(),
		Command:                  []string{podspec.Binary, command},
		TerminationMessagePath:   corev1.TerminationMessagePathDefault,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// restricted is what Pod Security's level of that name asks for. The user is the
// image's, which platforms with user ranges may replace.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot:             new(true),
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// containerResources are none where the pod has its own as a whole: the sum over
// the containers might exceed them, and the pod be refused.
func containerResources(pod *corev1.Pod, s settings) corev1.ResourceRequirements {
	if pod.Spec.Resources != nil {
		return corev1.ResourceRequirements{}
	}
	return *s.resources.DeepCopy()
}

func statusProbe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: statusGet(path)},
		TimeoutSeconds:   min(3, period),
		PeriodSeconds:    period,
		SuccessThreshold: 1,
		FailureThreshold: failures,
	}
}

func statusGet(path string) *corev1.HTTPGetAction {
	return &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(podspec.PortStatus), Scheme: corev1.URISchemeHTTP}
}

func port(name string, number uint16) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: int32(number), Protocol: corev1.ProtocolTCP}
}

func downward(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: field},
	}}
}

// volumes of the sidecar. The CA is not optional: the webhook writes it before it
// admits the pod, and a pod without it could never connect.
func volumes() []corev1.Volume {
	return []corev1.Volume{
		{Name: podspec.VolumeToken, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: new(corev1.ProjectedVolumeSourceDefaultMode),
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: podspec.Audience, ExpirationSeconds: new(int64(tokenSeconds)), Path: "token",
			}}},
		}}},
		{Name: podspec.VolumeCA, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: podspec.ConfigMapCA},
			DefaultMode:          new(corev1.ConfigMapVolumeSourceDefaultMode),
		}}},
		{Name: podspec.VolumeState, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
			Medium: corev1.StorageMediumMemory, SizeLimit: resource.NewQuantity(stateBytes, resource.BinarySI),
		}}},
	}
}
