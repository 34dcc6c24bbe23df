// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a Gateway API duration (GEP-2257): up to four numbers with h, m, s or ms, as in "1h30m" or "250ms".
// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(h|m|s|ms)){1,4}$`
// +kubebuilder:validation:MaxLength=32
type Duration string

// PositiveDuration is a Duration longer than nothing.
// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(h|m|s|ms)){1,4}$`
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="duration(self) > duration('0s')",message="This duration must be longer than 0s."
type PositiveDuration string

// WholeSeconds is a Duration of at least one second without milliseconds: the header fields that tell clients about
// windows carry whole seconds.
// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(h|m|s)){1,3}$`
// +kubebuilder:validation:MaxLength=32
// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="This duration must be whole seconds, 1s at the least."
type WholeSeconds string

// ByteSize is a number of bytes with an optional binary unit, as in "256Ki".
// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,8}(Ki|Mi|Gi)?$`
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:XValidation:rule="quantity(self).compareTo(quantity('1Gi')) <= 0",message="This size must be 1Gi at the most: bodies of this size are held in memory."
type ByteSize string

// HeaderName is a field name of HTTP (RFC 9110, token) or the name of a Thrift header. Case does not matter in HTTP.
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type HeaderName string

// JSONPointer points into a JSON body (RFC 6901), as in "/customer/id". The whole document ("") is not allowed.
// +kubebuilder:validation:Pattern=`^(/([^/~]|~[01])*)+$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type JSONPointer string

// ThriftField is a path of field ids from a call's arguments, as in "1.3": field 3 of the struct in argument 1.
// +kubebuilder:validation:Pattern=`^[1-9][0-9]{0,4}(\.[1-9][0-9]{0,4}){0,15}$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=96
type ThriftField string

// URLPath is a path of HTTP without query and fragment.
// +kubebuilder:validation:Pattern=`^/[^?#{}\s]*$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
type URLPath string

// ObjectName is the name of an object or a port (a DNS label).
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type ObjectName string

// AsDuration returns d as Go's duration; the absent duration is 0.
func (d Duration) AsDuration() (time.Duration, error) { return parseDuration(string(d)) }

// AsDuration returns d as Go's duration; the absent duration is 0.
func (d PositiveDuration) AsDuration() (time.Duration, error) { return parseDuration(string(d)) }

// AsDuration returns d as Go's duration; the absent duration is 0.
func (d WholeSeconds) AsDuration() (time.Duration, error) { return parseDuration(string(d)) }

func parseDuration(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("parse duration: %w", err)
	}
	return d, nil
}

// Bytes returns b as a number of bytes; the absent size is 0.
func (b ByteSize) Bytes() (int64, error) {
	if b == "" {
		return 0, nil
	}
	digits, shift := string(b), uint(0)
	for unit, bits := range map[string]uint{"Ki": 10, "Mi": 20, "Gi": 30} {
		if rest, found := strings.CutSuffix(digits, unit); found {
			digits, shift = rest, bits
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("parse size %q: %w", string(b), err)
	}
	return n << shift, nil
}
