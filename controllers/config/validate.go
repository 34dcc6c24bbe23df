// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/podspec"
)

// Field is an error at a path of the configuration.
type Field struct {
	Path string
	// Message is a sentence that says what to do.
	Message string
}

// Error is the path and the sentence.
func (f *Field) Error() string { return f.Path + ": " + f.Message }

var (
	nameRE   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	secretRE = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	// prefixRE leaves out braces: what is in them chooses the slot of a key.
	prefixRE = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._:/]{0,127}$`)
)

// problems collects errors.
type problems []error

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, &Field{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Validate checks a configuration that has its defaults. The error joins all that
// is wrong, each a *Field.
func (c *Config) Validate() error {
	var p problems
	seen := map[string]bool{}
	for i := range c.Stores {
		path := fmt.Sprintf("stores[%d]", i)
		p.store(path, &c.Stores[i])
		if seen[c.Stores[i].Name] {
			p.add(path+".name", "The store %q is there already: rename or remove one of them.", c.Stores[i].Name)
		}
		seen[c.Stores[i].Name] = true
	}
	p.jwtProviders(c.JWTProviders)
	p.identity(c.Identity)
	p.proxy(c.Proxy)
	p.telemetry(&c.Telemetry)
	p.injection(c.Injection)
	p.unsupported(c)
	return errors.Join(p...)
}

func (p *problems) unsupported(c *Config) {
	const why = "This version of Weir does not support %s: remove it."
	if len(c.KafkaClusters) > 0 {
		p.add("kafkaClusters", why, "Kafka")
	}
	e := c.Egress
	if !slices.Equal(e.AllowHosts, []string{"*"}) {
		p.add("egress.allowHosts", why, "outgoing calls, and so no bound of them")
	}
	if len(e.DenyCIDRs) > 0 {
		p.add("egress.denyCIDRs", why, "outgoing calls, and so no bound of them")
	}
	if e.AllowPlainHTTP {
		p.add("egress.allowPlainHTTP", why, "outgoing calls")
	}
}

func (p *problems) store(path string, s *Store) {
	if !nameRE.MatchString(s.Name) {
		p.add(path+".name", "%q is no name: use lower case letters, digits and hyphens, 63 at the most.", s.Name)
	}
	if !prefixRE.MatchString(s.KeyPrefix) {
		p.add(path+".keyPrefix", "%q cannot begin keys: use letters, digits and . _ : / -, 128 at the most.", s.KeyPrefix)
	}
	if s.Redis == nil {
		p.add(path+".redis", "A store needs a server: set redis.addresses.")
	} else {
		p.redis(path+".redis", s.Redis)
	}
	p.allowed(path+".allowedNamespaces", s.AllowedNamespaces)
	for ns, secret := range s.NamespaceCredentials {
		if !nameRE.MatchString(ns) {
			p.add(path+".namespaceCredentials", "%q is no namespace.", ns)
		}
		if !secretRE.MatchString(secret) {
			p.add(path+".namespaceCredentials["+ns+"]", "%q is no name of a Secret.", secret)
		}
	}
}

func (p *problems) redis(path string, r *Redis) {
	switch n := len(r.Addresses); {
	case n == 0:
		p.add(path+".addresses", "Name at least one server as host:port.")
	case n > 64:
		p.add(path+".addresses", "Name 64 servers at the most; the others are found from them.")
	case n > 1 && r.Mode == RedisStandalone:
		p.add(path+".addresses", "Standalone is one server: name one, or set mode to Sentinel or Cluster.")
	}
	for i, a := range r.Addresses {
		if !isAddress(a) {
			p.add(fmt.Sprintf("%s.addresses[%d]", path, i), "%q is no host:port, as in redis:6379.", a)
		}
	}
	switch {
	case !slices.Contains([]RedisMode{RedisStandalone, RedisSentinel, RedisCluster}, r.Mode):
		p.add(path+".mode", "%q is not known: use Standalone, Sentinel or Cluster.", r.Mode)
	case r.Mode == RedisSentinel && r.MasterName == "":
		p.add(path+".masterName", "Sentinels are asked for a master by name: set masterName.")
	case r.Mode != RedisSentinel && r.MasterName != "":
		p.add(path+".masterName", "Only Sentinel has a master's name: remove it, or set mode to Sentinel.")
	}
	p.tls(path+".tls", r.TLS)
	if s := r.Credentials.Secret; s != "" && !secretRE.MatchString(s) {
		p.add(path+".credentials.secret", "%q is no name of a Secret.", s)
	}
}

// isAddress reports whether s is host:port.
func isAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	number, numErr := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && numErr == nil && number > 0
}

func (p *problems) tls(path string, t TLS) {
	if !t.Enabled && (t.ServerName != "" || t.CA != "") {
		p.add(path+".enabled", "serverName or ca is set, but TLS is off: set enabled to true, or remove them.")
	}
	if t.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CA)) {
		p.add(path+".ca", "It has no certificate in PEM.")
	}
}

func (p *problems) allowed(path string, a AllowedNamespaces) {
	switch a.From {
	case FromAll, FromSelector, FromNames:
	default:
		p.add(path+".from", "%q is not known: use All, Selector or Names.", a.From)
	}
	if (a.From == FromSelector) != (a.Selector != nil) {
		p.add(path+".selector", "A selector goes with from: Selector, and with nothing else.")
	}
	if (a.From == FromNames) != (len(a.Names) > 0) {
		p.add(path+".names", "Names go with from: Names, and with nothing else.")
	}
	if _, err := metav1.LabelSelectorAsSelector(a.Selector); err != nil {
		p.add(path+".selector", "It is no label selector: %v.", err)
	}
}

func (p *problems) identity(id Identity) {
	for i, s := range id.TrustedProxies {
		if _, err := CanonicalCIDR(s); err != nil {
			p.add(fmt.Sprintf("identity.trustedProxies[%d]", i), "%v.", err)
		}
	}
	for i, s := range id.IdentityHeaders {
		if _, err := CanonicalHeader(s); err != nil {
			p.add(fmt.Sprintf("identity.identityHeaders[%d]", i), "%v.", err)
		}
	}
}

func (p *problems) injection(in Injection) {
	if !slices.Contains([]string{podspec.CaptureAuto, podspec.CaptureRedirect, podspec.CaptureNamedPort}, in.Capture) {
		p.add("injection.capture", "%q is not known: use Auto, Redirect or NamedPort.", in.Capture)
	}
	if !slices.Contains([]string{podspec.MissingDeny, podspec.MissingPassThrough}, in.OnMissingConfig) {
		p.add("injection.onMissingConfig", "%q is not known: use Deny or PassThrough.", in.OnMissingConfig)
	}
	if len(in.Resources.Claims) > 0 {
		p.add("injection.resources.claims", "A sidecar has no device claims: remove them.")
	}
	for i, s := range in.ImagePullSecrets {
		if !secretRE.MatchString(s.Name) {
			p.add(fmt.Sprintf("injection.imagePullSecrets[%d].name", i), "%q is no name of a Secret.", s.Name)
		}
	}
}
