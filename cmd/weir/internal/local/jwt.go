// SPDX-License-Identifier: Apache-2.0

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"weir.dev/weir/api/snapshot"
	"weir.dev/weir/controllers/config"
	"weir.dev/weir/controllers/jwks"
)

// JWT is what --jwt-provider says: providers, and their keys.
type JWT struct {
	Providers []config.JWTProvider
	Keys      map[string][]*snapshot.JWTKey
}

const jwtForm = "write name=idp,issuer=URL,audience=shop,jwks=FILE|URL; audience may be left out, or given several times"

// ParseJWT reads the flags and the keys, of files or of https URLs.
func ParseJWT(ctx context.Context, flags []string, client *http.Client) (JWT, error) {
	out := JWT{Keys: map[string][]*snapshot.JWTKey{}}
	cfg := config.Default()
	for _, s := range flags {
		p, file, err := parseProvider(s)
		if err != nil {
			return JWT{}, fmt.Errorf("--jwt-provider %q: %w", s, err)
		}
		cfg.JWTProviders = append(cfg.JWTProviders, p)
		if err := cfg.Validate(); err != nil {
			var field *config.Field
			if errors.As(err, &field) {
				_, name, _ := strings.Cut(field.Path, ".")
				err = fmt.Errorf("%s: %s", name, field.Message)
			}
			return JWT{}, fmt.Errorf("--jwt-provider %q: %w", s, err)
		}
		var keys []*snapshot.JWTKey
		if file != "" {
			keys, err = keysOf(file)
		} else {
			keys, err = jwks.Fetch(ctx, client, p.JWKS.URL)
		}
		if err != nil {
			return JWT{}, fmt.Errorf("--jwt-provider %s: keys: %w", p.Name, err)
		}
		out.Keys[p.Name] = keys
	}
	out.Providers = cfg.JWTProviders
	return out, nil
}

// parseProvider returns the file of the keys, or none where they are at a URL.
func parseProvider(s string) (p config.JWTProvider, file string, err error) {
	seen := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || value == "" || !slices.Contains([]string{"name", "issuer", "audience", "jwks"}, name) || seen[name] && name != "audience" {
			return p, "", errors.New(jwtForm)
		}
		seen[name] = true
		switch name {
		case "name":
			p.Name = value
		case "issuer":
			p.Issuer = value
		case "audience":
			p.Audiences = append(p.Audiences, value)
		case "jwks":
			p.JWKS.URL = value
		}
	}
	if p.Name == "" || p.Issuer == "" || p.JWKS.URL == "" {
		return p, "", errors.New(jwtForm)
	}
	if !strings.Contains(p.JWKS.URL, "://") {
		file = p.JWKS.URL
		// What a configuration says is a URL, though nobody asks it.
		p.JWKS.URL = "https://file.invalid/"
	}
	return p, file, nil
}

func keysOf(file string) ([]*snapshot.JWTKey, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, jwks.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > jwks.MaxBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", file, jwks.MaxBytes)
	}
	keys, err := jwks.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}
