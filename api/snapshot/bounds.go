// SPDX-License-Identifier: Apache-2.0

package snapshot

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what an operator and a Service may configure. 0 stands for the default
// and is always possible.
const (
	MinHeadBytes = 4 << 10
	MaxHeadBytes = 1 << 20
	// MaxConnections is more than a pod has descriptors for.
	MaxConnections = 1 << 20

	MinIdle, MaxIdle       = time.Second, 24 * time.Hour
	MinStall, MaxStall     = time.Second, 24 * time.Hour
	MinConnect, MaxConnect = 10 * time.Millisecond, time.Minute

	// MaxResponse bounds a RouteTimeout.
	MaxResponse = 24 * time.Hour
	// MaxTimeouts bounds the entries of a port, MaxPrefix their paths.
	MaxTimeouts = 64
	MaxPrefix   = 256

	// PerMillion is all of a sample.
	PerMillion = 1_000_000
	// MaxTranscoding bounds a port's mapping: it travels to every pod.
	MaxTranscoding = 256 << 10
	// MaxCA bounds certificates in PEM.
	MaxCA = 256 << 10
)

// ValidateProxy checks bounds. The error names the field.
func ValidateProxy(p *Proxy) error {
	if n := p.GetHeadBytes(); n != 0 && (n < MinHeadBytes || n > MaxHeadBytes) {
		return fmt.Errorf("head_bytes %d is not between %d and %d", n, MinHeadBytes, MaxHeadBytes)
	}
	if n := p.GetConnections(); n > MaxConnections {
		return fmt.Errorf("connections %d is above %d", n, MaxConnections)
	}
	for _, t := range []struct {
		field    string
		value    uint64
		min, max time.Duration
	}{
		{"idle_milliseconds", p.GetIdleMilliseconds(), MinIdle, MaxIdle},
		{"stall_milliseconds", p.GetStallMilliseconds(), MinStall, MaxStall},
		{"connect_milliseconds", p.GetConnectMilliseconds(), MinConnect, MaxConnect},
	} {
		if t.value != 0 && (t.value < uint64(t.min.Milliseconds()) || t.value > uint64(t.max.Milliseconds())) {
			return fmt.Errorf("%s %d is not between %d and %d", t.field, t.value, t.min.Milliseconds(), t.max.Milliseconds())
		}
	}
	return nil
}

// ValidateTelemetry checks bounds and enumerations. The error names the field.
func ValidateTelemetry(t *Telemetry) error {
	if l := t.GetAccessLog(); l != nil {
		n := l.GetSamplePerMillion()
		switch {
		case l.GetMode() == AccessLog_MODE_UNSPECIFIED || AccessLog_Mode_name[int32(l.GetMode())] == "":
			return fmt.Errorf("access_log.mode %d is unknown", l.GetMode())
		case l.GetMode() == AccessLog_MODE_SAMPLED && (n == 0 || n > PerMillion):
			return fmt.Errorf("access_log.sample_per_million %d is not between 1 and %d", n, PerMillion)
		case l.GetMode() != AccessLog_MODE_SAMPLED && n != 0:
			return fmt.Errorf("access_log.sample_per_million %d comes without MODE_SAMPLED", n)
		}
	}
	tr := t.GetTracing()
	if tr == nil {
		return nil
	}
	host, port, err := net.SplitHostPort(tr.GetEndpoint())
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || n == 0 || host == "" || len(host) > MaxPrefix {
		return fmt.Errorf("tracing.endpoint %.300q is not host:port", tr.GetEndpoint())
	}
	if n := tr.GetSamplePerMillion(); n > PerMillion {
		return fmt.Errorf("tracing.sample_per_million %d is above %d", n, PerMillion)
	}
	if len(tr.GetTls().GetServerName()) > MaxPrefix || len(tr.GetTls().GetCaPem()) > MaxCA {
		return fmt.Errorf("tracing.tls has more than %d bytes of server_name or %d of ca_pem", MaxPrefix, MaxCA)
	}
	return nil
}

// ValidateTimeouts checks a port's timeouts and the bound of its bodies.
func ValidateTimeouts(p *Port) error {
	if p.GetMaxBodyBytes() > math.MaxInt64 {
		return fmt.Errorf("max_body_bytes %d is above %d", p.GetMaxBodyBytes(), int64(math.MaxInt64))
	}
	list := p.GetTimeouts()
	if len(list) > MaxTimeouts {
		return fmt.Errorf("there are %d timeouts, at most %d are possible", len(list), MaxTimeouts)
	}
	for i, t := range list {
		if !validPrefix(t.GetPrefix()) {
			return fmt.Errorf("timeouts[%d].prefix %.300q is no path of whole segments", i, t.GetPrefix())
		}
		if t.GetResponseMilliseconds() > uint64(MaxResponse.Milliseconds()) {
			return fmt.Errorf("timeouts[%d].response_milliseconds %d is above %d", i, t.GetResponseMilliseconds(), MaxResponse.Milliseconds())
		}
		if i > 0 && ComparePrefixes(list[i-1].GetPrefix(), t.GetPrefix()) >= 0 {
			return fmt.Errorf("timeouts[%d]: %q follows %q", i, t.GetPrefix(), list[i-1].GetPrefix())
		}
	}
	return nil
}

// ComparePrefixes is the order of a port's timeouts: the longest first, those of
// one length by their bytes.
func ComparePrefixes(a, b string) int {
	if len(a) != len(b) {
		return len(b) - len(a)
	}
	return strings.Compare(a, b)
}

// validPrefix reports whether requests' normalised paths can begin with it.
func validPrefix(s string) bool {
	if s == "/" {
		return true
	}
	if len(s) > MaxPrefix || !strings.HasPrefix(s, "/") {
		return false
	}
	segments := strings.Split(s[1:], "/")
	return !slices.ContainsFunc(segments, func(segment string) bool {
		return segment == "" || segment == "." || segment == ".."
	})
}
