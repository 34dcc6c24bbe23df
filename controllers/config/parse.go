// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"weir.dev/weir/api/podspec"
)

// DefaultKeyPrefix begins the keys of stores that name no prefix.
const DefaultKeyPrefix = "weir"

// Default is the configuration of an empty file: no store, nobody trusted.
func Default() Config {
	var c Config
	c.setDefaults()
	return c
}

// Parse reads YAML. The error joins all that is wrong.
func Parse(text []byte) (Config, error) {
	var c Config
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return c, fmt.Errorf("configuration is not YAML: %w", err)
	}
	unknown, err := kjson.UnmarshalStrict(asJSON, &c)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if len(unknown) > 0 {
		return c, errors.Join(unknown...)
	}
	c.setDefaults()
	return c, c.Validate()
}

func (c *Config) setDefaults() {
	for i := range c.Stores {
		s := &c.Stores[i]
		if s.KeyPrefix == "" {
			s.KeyPrefix = DefaultKeyPrefix
		}
		if s.Redis != nil && s.Redis.Mode == "" {
			s.Redis.Mode = RedisStandalone
		}
		if s.AllowedNamespaces.From == "" {
			s.AllowedNamespaces.From = FromAll
		}
	}
	c.Telemetry.setDefaults()
	if c.Egress.AllowHosts == nil {
		c.Egress.AllowHosts = []string{"*"}
	}
	if c.Injection.Capture == "" {
		c.Injection.Capture = podspec.CaptureAuto
	}
	if c.Injection.OnMissingConfig == "" {
		c.Injection.OnMissingConfig = podspec.MissingDeny
	}
}
