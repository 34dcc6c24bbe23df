// SPDX-License-Identifier: Apache-2.0

package attach

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"weir.dev/weir/api/snapshot"
)

// Timeout bounds how long the application may take for paths of whole segments
// under Prefix.
type Timeout struct {
	Prefix string
	// Response is 0 where there is no bound.
	Response time.Duration
}

// everyPath is the prefix of a timeout without a path.
const everyPath = "/"

var (
	durationRE = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
	// prefixRE leaves out what a path has only before it is normalised (escapes)
	// and what reads like a pattern.
	prefixRE = regexp.MustCompile(`^/([A-Za-z0-9._~!$&'()+;:@-]+(/[A-Za-z0-9._~!$&'()+;:@-]+)*)?$`)
)

// parseTimeouts reads AnnotationResponseTimeout. The error is a sentence without
// its end.
func parseTimeouts(text string) ([]Timeout, error) {
	list := words(text)
	if len(list) == 0 {
		return nil, errors.New("it is empty: write 30s for every path, /reports=10m for one path and what is below it, or both with a comma between; 0s is no timeout")
	}
	if len(list) > snapshot.MaxTimeouts {
		return nil, fmt.Errorf("it has %d entries, %d are possible", len(list), snapshot.MaxTimeouts)
	}
	var out []Timeout
	for _, word := range list {
		t, err := parseTimeout(word)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(o Timeout) bool { return o.Prefix == t.Prefix }) {
			return nil, fmt.Errorf("%q is for a path that is there already: keep one of them", word)
		}
		out = append(out, t)
	}
	return out, nil
}

func parseTimeout(word string) (Timeout, error) {
	t := Timeout{Prefix: everyPath}
	text := word
	if strings.HasPrefix(word, "/") {
		var ok bool
		if t.Prefix, text, ok = strings.Cut(word, "="); !ok {
			return t, fmt.Errorf("%q has no timeout: write it after the path, as in /reports=10m", word)
		}
		if t.Prefix != everyPath {
			t.Prefix = strings.TrimSuffix(t.Prefix, "/")
		}
		if !prefixRE.MatchString(t.Prefix) || strings.Contains(t.Prefix+"/", "/./") || strings.Contains(t.Prefix+"/", "/../") || len(t.Prefix) > snapshot.MaxPrefix {
			return t, fmt.Errorf("%q is no path of whole segments, as /reports is: it has no escapes, patterns, dot segments or empty ones, and %d bytes at the most",
				t.Prefix, snapshot.MaxPrefix)
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || !durationRE.MatchString(text) {
		return t, fmt.Errorf("%q is no timeout: write 30s for every path, or /reports=10m for one path and what is below it; 0s is no timeout", word)
	}
	if d > snapshot.MaxResponse {
		return t, fmt.Errorf("%q is longer than 24h: shorten it, or write 0s for no timeout", word)
	}
	t.Response = d
	return t, nil
}

// parseBody reads AnnotationMaxBody. The error is a sentence without its end.
func parseBody(text string) (int64, error) {
	q, err := resource.ParseQuantity(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%q is no size: write it as in 10Mi", text)
	}
	n := q.Value() // rounded up, or cut to what there is
	if n <= 0 || q.CmpInt64(n) != 0 {
		return 0, fmt.Errorf("%q is not a whole number of bytes above 0: write it as in 10Mi, or remove the annotation for no bound", text)
	}
	return n, nil
}

// timeouts are those of the Services that lead to the slot, in a snapshot's order.
// Of two for one path the longer holds, and none is the longest: a Service must not
// cut short what another one allows.
func (s *slot) timeouts() []Timeout {
	byPrefix := map[string]time.Duration{}
	for _, w := range s.ways {
		for _, t := range w.service.timeouts {
			if known, ok := byPrefix[t.Prefix]; !ok || known > 0 && (t.Response == 0 || t.Response > known) {
				byPrefix[t.Prefix] = t.Response
			}
		}
	}
	var out []Timeout
	for prefix, d := range byPrefix {
		out = append(out, Timeout{Prefix: prefix, Response: d})
	}
	slices.SortFunc(out, func(a, b Timeout) int { return snapshot.ComparePrefixes(a.Prefix, b.Prefix) })
	return out
}

// maxBody is the largest that a Service which leads to the slot sets; 0: none does.
func (s *slot) maxBody() int64 {
	var out int64
	for _, w := range s.ways {
		out = max(out, w.service.maxBody)
	}
	return out
}
