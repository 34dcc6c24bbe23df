// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"weir.dev/weir/api/podspec"
)

const (
	// acceptedFor bounds how long an accepted token is not asked about again. A
	// pod that is gone is noticed before that: its stream needs it to exist.
	acceptedFor = 5 * time.Minute
	refusedFor  = 10 * time.Second
	// maxTokens bounds the cache, above the pods one replica serves.
	maxTokens = 20_000
	// maxToken is the longest token that is looked at.
	maxToken = 16 << 10
	// maxReviews bounds TokenReviews that are under way at once.
	maxReviews = 32

	// Extra claims of a bound token, KEP-4193.
	extraPodName = "authentication.kubernetes.io/pod-name"
	extraPodUID  = "authentication.kubernetes.io/pod-uid"

	serviceAccountPrefix = "system:serviceaccount:"
)

// Reviewer creates TokenReviews: a client-go TokenReviewInterface.
type Reviewer interface {
	Create(ctx context.Context, review *authenticationv1.TokenReview, opts metav1.CreateOptions) (*authenticationv1.TokenReview, error)
}

// TokenReviews authenticates by TokenReview for the audience weir.dev, and
// remembers answers by the hash of the token.
type TokenReviews struct {
	reviewer Reviewer
	slots    chan struct{}

	mu    sync.Mutex
	known map[[sha256.Size]byte]answer
}

type answer struct {
	id      Identity
	err     error
	expires time.Time
}

// NewTokenReviews returns an Authenticator that asks r.
func NewTokenReviews(r Reviewer) *TokenReviews {
	return &TokenReviews{
		reviewer: r,
		slots:    make(chan struct{}, maxReviews),
		known:    map[[sha256.Size]byte]answer{},
	}
}

// Authenticate implements Authenticator.
func (t *TokenReviews) Authenticate(ctx context.Context, token string) (Identity, error) {
	if len(token) > maxToken {
		return Identity{}, fmt.Errorf("%w: it is longer than %d bytes", ErrUnauthenticated, maxToken)
	}
	key := sha256.Sum256([]byte(token))
	if a, ok := t.lookup(key, time.Now()); ok {
		return a.id, a.err
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return Identity{}, ctx.Err()
	}
	review, err := t.reviewer.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{podspec.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return Identity{}, fmt.Errorf("token review: %w", err)
	}
	now := time.Now()
	id, err := identityOf(&review.Status)
	a := answer{id: id, err: err, expires: now.Add(refusedFor)}
	if err == nil {
		a.expires = now.Add(acceptedFor)
		if exp := expiry(token); exp.Before(a.expires) {
			a.expires = exp
		}
	}
	t.store(key, a, now)
	return a.id, a.err
}

func identityOf(s *authenticationv1.TokenReviewStatus) (Identity, error) {
	if !s.Authenticated {
		reason := s.Error
		if reason == "" {
			reason = "the API server does not know it"
		}
		return Identity{}, fmt.Errorf("%w: %s", ErrUnauthenticated, reason)
	}
	// A server that ignores audiences says so by not naming ours.
	if !slices.Contains(s.Audiences, podspec.Audience) {
		return Identity{}, fmt.Errorf("%w: it is not for audience %s", ErrUnauthenticated, podspec.Audience)
	}
	account, ok := strings.CutPrefix(s.User.Username, serviceAccountPrefix)
	namespace, name, cut := strings.Cut(account, ":")
	if !ok || !cut || namespace == "" || name == "" {
		return Identity{}, fmt.Errorf("%w: %s is no ServiceAccount", ErrUnauthenticated, s.User.Username)
	}
	return Identity{
		Namespace:      namespace,
		ServiceAccount: name,
		Pod:            single(s.User.Extra[extraPodName]),
		UID:            single(s.User.Extra[extraPodUID]),
	}, nil
}

func single(v authenticationv1.ExtraValue) string {
	if len(v) != 1 {
		return ""
	}
	return v[0]
}

// expiry reads `exp` of a JWT that the API server has accepted. A token without
// one expires at once.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0)
}

func (t *TokenReviews) lookup(key [sha256.Size]byte, now time.Time) (answer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.known[key]
	if ok && now.Before(a.expires) {
		return a, true
	}
	return answer{}, false
}

func (t *TokenReviews) store(key [sha256.Size]byte, a answer, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxTokens {
		for k, old := range t.known {
			if !now.Before(old.expires) {
				delete(t.known, k)
			}
		}
	}
	if len(t.known) >= maxTokens {
		return
	}
	t.known[key] = a
}
