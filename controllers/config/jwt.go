// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"strings"

	"weir.dev/weir/api/snapshot"
)

// maxURL bounds issuers, audiences and URLs.
const maxURL = 1024

func (p *problems) jwtProviders(list []JWTProvider) {
	if len(list) > snapshot.MaxJWTProviders {
		p.add("jwtProviders", "There are %d providers, %d are possible.", len(list), snapshot.MaxJWTProviders)
	}
	seen := map[string]bool{}
	for i := range list {
		path, l := fmt.Sprintf("jwtProviders[%d]", i), &list[i]
		if !nameRE.MatchString(l.Name) {
			p.add(path+".name", "%q is no name: use lower case letters, digits and hyphens, 63 at the most.", l.Name)
		}
		if seen[l.Name] {
			p.add(path+".name", "The provider %q is there already: rename or remove one of them.", l.Name)
		}
		seen[l.Name] = true
		if l.Issuer == "" || len(l.Issuer) > maxURL {
			p.add(path+".issuer", "It is empty or has more than %d bytes: write what the claim iss of its tokens says, byte by byte.", maxURL)
		}
		if len(l.Audiences) > snapshot.MaxJWTAudiences {
			p.add(path+".audiences", "There are %d audiences, %d are possible.", len(l.Audiences), snapshot.MaxJWTAudiences)
		}
		for j, a := range l.Audiences {
			if a == "" || len(a) > maxURL {
				p.add(fmt.Sprintf("%s.audiences[%d]", path, j), "It is empty or has more than %d bytes.", maxURL)
			}
		}
		if why := wrongJWKS(l.JWKS.URL); why != "" {
			p.add(path+".jwks.url", "%s", why)
		}
	}
}

// wrongJWKS is a sentence, empty where nothing is wrong. Who can answer in place of a provider
// can issue any token: plain HTTP is for Services of this cluster only.
func wrongJWKS(s string) string {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(s) > maxURL:
		return fmt.Sprintf("%.200q is no URL of keys: write it as in https://idp.example/.well-known/jwks.json, without user and fragment.", s)
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && inCluster(u.Hostname()):
		return ""
	}
	return fmt.Sprintf("%.200q is not https: who can answer in its place could issue any token. Use https; http is possible only to a Service of the cluster, as in http://idp.auth.svc/keys.", s)
}

func inCluster(host string) bool {
	return strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local")
}
