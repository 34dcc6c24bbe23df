// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/api/v1alpha1"
)

// The samples of a configuration that names none, in percent.
const (
	DefaultLogSample   = 1.0
	DefaultTraceSample = 10.0
)

var (
	sizeRE     = regexp.MustCompile(`^[1-9][0-9]{0,8}(Ki|Mi)?$`)
	durationRE = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
)

func (t *Telemetry) setDefaults() {
	if t.AccessLog.Mode == "" {
		t.AccessLog.Mode = AccessLogOff
	}
	if t.AccessLog.SamplePercent == nil {
		t.AccessLog.SamplePercent = new(DefaultLogSample)
	}
	if t.Tracing.SamplePercent == nil {
		t.Tracing.SamplePercent = new(DefaultTraceSample)
	}
}

// PerMillion turns percent into parts of a million; false when it is not between 0
// and 100 or has more than four decimals.
func PerMillion(percent float64) (uint32, bool) {
	exact := percent * (snapshot.PerMillion / 100)
	n := math.Round(exact)
	if !(n >= 0 && n <= snapshot.PerMillion) || math.Abs(exact-n) > 1e-6 || percent < 0 {
		return 0, false
	}
	return uint32(n), true
}

func (p *problems) proxy(c Proxy) {
	if s := c.HeadBytes; s != "" {
		n, err := s.Bytes()
		if err != nil || !sizeRE.MatchString(string(s)) || n < snapshot.MinHeadBytes || n > snapshot.MaxHeadBytes {
			p.add("proxy.headBytes", "%q is no size between 4Ki and 1Mi: write it as in 16Ki.", s)
		}
	}
	if n := c.MaxConnections; n < 0 || n > snapshot.MaxConnections {
		p.add("proxy.maxConnections", "%d is not between 0 and %d.", n, snapshot.MaxConnections)
	}
	for _, t := range []struct {
		name     string
		value    v1alpha1.Duration
		min, max time.Duration
		example  string
	}{
		{"idle", c.Timeouts.Idle, snapshot.MinIdle, snapshot.MaxIdle, "1h"},
		{"stall", c.Timeouts.Stall, snapshot.MinStall, snapshot.MaxStall, "5m"},
		{"connect", c.Timeouts.Connect, snapshot.MinConnect, snapshot.MaxConnect, "5s"},
	} {
		if t.value == "" {
			continue
		}
		d, err := t.value.AsDuration()
		if err != nil || !durationRE.MatchString(string(t.value)) || d < t.min || d > t.max {
			p.add("proxy.timeouts."+t.name, "%q is no duration between %s and %s: write it as in %s.", t.value, short(t.min), short(t.max), t.example)
		}
	}
}

// short is a duration without the parts that are 0.
func short(d time.Duration) string {
	s := d.String()
	s = strings.TrimSuffix(s, "0s")
	return strings.TrimSuffix(s, "0m")
}

func (p *problems) telemetry(t *Telemetry) {
	if !slices.Contains([]AccessLogMode{AccessLogOff, AccessLogErrors, AccessLogSampled, AccessLogAll}, t.AccessLog.Mode) {
		p.add("telemetry.accessLog.mode", "%q is not known: use Off, Errors, Sampled or All.", t.AccessLog.Mode)
	}
	n := p.percent("telemetry.accessLog.samplePercent", t.AccessLog.SamplePercent)
	if t.AccessLog.Mode == AccessLogSampled && n == 0 {
		p.add("telemetry.accessLog.samplePercent", "A sample of nothing leaves errors: set mode to Errors, or a percentage above 0.")
	}
	if e := t.Tracing.Endpoint; e != "" && !isAddress(e) {
		hint := ""
		if strings.Contains(e, "://") {
			hint = " Leave the scheme out: spans go over OTLP/gRPC, and tls says whether with TLS."
		}
		p.add("telemetry.tracing.endpoint", "%q is no host:port, as in otel-collector.observability:4317.%s", e, hint)
	}
	if len(t.Tracing.Endpoint) > snapshot.MaxPrefix || len(t.Tracing.TLS.ServerName) > snapshot.MaxPrefix || len(t.Tracing.TLS.CA) > snapshot.MaxCA {
		p.add("telemetry.tracing", "It is too long: endpoint and tls.serverName have %d bytes at the most, tls.ca %d.", snapshot.MaxPrefix, snapshot.MaxCA)
	}
	p.tls("telemetry.tracing.tls", t.Tracing.TLS)
	p.percent("telemetry.tracing.samplePercent", t.Tracing.SamplePercent)
}

// percent returns 1 where it has found something wrong, which is said already.
func (p *problems) percent(path string, v *float64) uint32 {
	if v == nil {
		return 1
	}
	n, ok := PerMillion(*v)
	if !ok {
		p.add(path, "%s is no percentage between 0 and 100 with four decimals at the most.", fmt.Sprint(*v))
		return 1
	}
	return n
}
