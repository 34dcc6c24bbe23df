// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Store returns the store of that name.
func (c *Config) Store(name string) (*Store, bool) {
	for i := range c.Stores {
		if c.Stores[i].Name == name {
			return &c.Stores[i], true
		}
	}
	return nil, false
}

// JWTProvider returns the provider of that name.
func (c *Config) JWTProvider(name string) (*JWTProvider, bool) {
	for i := range c.JWTProviders {
		if c.JWTProviders[i].Name == name {
			return &c.JWTProviders[i], true
		}
	}
	return nil, false
}

// Permits reports whether policies of a namespace with these labels may use what
// a is about.
func (a AllowedNamespaces) Permits(namespace string, labelsOf map[string]string) bool {
	switch a.From {
	case FromAll, "":
		return true
	case FromNames:
		return slices.Contains(a.Names, namespace)
	case FromSelector:
		s, err := metav1.LabelSelectorAsSelector(a.Selector)
		return err == nil && s.Matches(labels.Set(labelsOf))
	}
	return false
}

// Secret is the name of the Secret with the store's credentials for a namespace;
// empty: there are none.
func (s *Store) Secret(namespace string) string {
	if own, ok := s.NamespaceCredentials[namespace]; ok {
		return own
	}
	if s.Redis == nil {
		return ""
	}
	return s.Redis.Credentials.Secret
}
