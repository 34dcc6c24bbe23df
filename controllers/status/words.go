// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"weir.dev/weir/controllers/attach"
)

func pods(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}

func have(n int) string {
	if n == 1 {
		return "1 pod has"
	}
	return fmt.Sprintf("%d pods have", n)
}

func are(n int) string {
	if n == 1 {
		return "1 pod is"
	}
	return fmt.Sprintf("%d pods are", n)
}

func refuse(n int) string {
	if n == 1 {
		return "1 pod refuses"
	}
	return fmt.Sprintf("%d pods refuse", n)
}

func all(n int) string {
	if n == 1 {
		return "The 1 ready pod"
	}
	return fmt.Sprintf("All %d ready pods", n)
}

func numbers(ports []uint16) string {
	words := make([]string, len(ports))
	for i, p := range ports {
		words[i] = strconv.Itoa(int(p))
	}
	return strings.Join(words, ", ")
}

func sorted(set map[uint16]bool) []uint16 {
	var out []uint16
	for p := range set {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// distinct is pods with each once.
func distinct(pods []attach.Pod) []attach.Pod {
	seen := map[string]bool{}
	var out []attach.Pod
	for _, p := range pods {
		if !seen[p.UID] {
			seen[p.UID] = true
			out = append(out, p)
		}
	}
	return out
}
