// SPDX-License-Identifier: Apache-2.0

package local

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"weir.dev/weir/api/stream"
	"weir.dev/weir/controllers/config"
)

// storeName is what storeRef says by default.
const storeName = "default"

// Redis is what --redis says: addresses, and the credentials apart from them.
type Redis struct {
	Store   *config.Redis
	Secrets *stream.Secrets
}

// ParseRedis reads HOST:PORT or a redis:// or rediss:// URL; several, separated
// by commas, are nodes of one Redis Cluster.
func ParseRedis(s string) (Redis, error) {
	r := Redis{Store: &config.Redis{Mode: config.RedisStandalone}}
	var user *url.Userinfo
	for i, part := range strings.Split(s, ",") {
		if !strings.Contains(part, "://") {
			part = "redis://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Host == "" {
			return r, fmt.Errorf("--redis: part %d is neither HOST:PORT nor a redis:// URL", i+1)
		}
		switch u.Scheme {
		case "redis":
		case "rediss":
			r.Store.TLS.Enabled = true
		default:
			return r, fmt.Errorf("--redis: scheme %q is not known; use redis:// or rediss://", u.Scheme)
		}
		if p := strings.Trim(u.Path, "/"); p != "" && p != "0" {
			return r, fmt.Errorf("--redis: database %q is not supported; Weir uses database 0", p)
		}
		host := u.Host
		if u.Port() == "" {
			host = net.JoinHostPort(u.Hostname(), "6379")
		}
		r.Store.Addresses = append(r.Store.Addresses, host)
		if u.User != nil {
			user = u.User
		}
	}
	if len(r.Store.Addresses) > 1 {
		r.Store.Mode = config.RedisCluster
	}
	if user != nil {
		password, _ := user.Password()
		r.Secrets = &stream.Secrets{Stores: []*stream.StoreCredentials{{
			Store: storeName, Version: "flag", Username: user.Username(), Password: password,
		}}}
		r.Store.Credentials.Secret = "flag"
	}
	return r, nil
}
