// SPDX-License-Identifier: Apache-2.0

package configserver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// reviewer answers as an API server would that knows one answer.
type reviewer struct {
	status authenticationv1.TokenReviewStatus
	err    error
	asked  []*authenticationv1.TokenReview
}

func (r *reviewer) Create(_ context.Context, review *authenticationv1.TokenReview, _ metav1.CreateOptions) (*authenticationv1.TokenReview, error) {
	r.asked = append(r.asked, review)
	if r.err != nil {
		return nil, r.err
	}
	out := review.DeepCopy()
	out.Status = r.status
	return out, nil
}

func accepted() authenticationv1.TokenReviewStatus {
	return authenticationv1.TokenReviewStatus{
		Authenticated: true,
		Audiences:     []string{"weir.dev"},
		User: authenticationv1.UserInfo{
			Username: "system:serviceaccount:shop:default",
			Extra: map[string]authenticationv1.ExtraValue{
				extraPodName: {"one"}, extraPodUID: {"uid-one"},
			},
		},
	}
}

// jwt expires at exp; it is signed by nobody.
func jwt(exp time.Time) string {
	return "e30." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, exp.Unix())) + ".c2ln"
}

func TestIdentityOfTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*authenticationv1.TokenReviewStatus)
		want    Identity
		refused bool
	}{
		"bound to a pod": {func(*authenticationv1.TokenReviewStatus) {},
			Identity{Namespace: "shop", ServiceAccount: "default", Pod: "one", UID: "uid-one"}, false},
		"not bound": {func(s *authenticationv1.TokenReviewStatus) { s.User.Extra = nil },
			Identity{Namespace: "shop", ServiceAccount: "default"}, false},
		"two pods": {func(s *authenticationv1.TokenReviewStatus) { s.User.Extra[extraPodName] = []string{"one", "two"} },
			Identity{Namespace: "shop", ServiceAccount: "default", UID: "uid-one"}, false},
		"not authenticated": {func(s *authenticationv1.TokenReviewStatus) { s.Authenticated = false }, Identity{}, true},
		"another audience":  {func(s *authenticationv1.TokenReviewStatus) { s.Audiences = []string{"api"} }, Identity{}, true},
		"audiences ignored": {func(s *authenticationv1.TokenReviewStatus) { s.Audiences = nil }, Identity{}, true},
		"a person":          {func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "alice" }, Identity{}, true},
		"half a name":       {func(s *authenticationv1.TokenReviewStatus) { s.User.Username = "system:serviceaccount:shop" }, Identity{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &reviewer{status: accepted()}
			tc.change(&r.status)
			got, err := NewTokenReviews(r).Authenticate(t.Context(), "token")
			if errors.Is(err, ErrUnauthenticated) != tc.refused {
				t.Fatalf("error %v", err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("identity (-want +got):\n%s", d)
			}
			if d := cmp.Diff([]string{"weir.dev"}, r.asked[0].Spec.Audiences); d != "" {
				t.Errorf("audiences asked for (-want +got):\n%s", d)
			}
		})
	}
}

func TestAnswersAreRemembered(t *testing.T) {
	for name, tc := range map[string]struct {
		status authenticationv1.TokenReviewStatus
		err    error
		life   time.Duration // of the token
		fresh  time.Duration // the longest the answer holds
	}{
		"accepted":           {accepted(), nil, time.Hour, acceptedFor},
		"accepted, short":    {accepted(), nil, time.Minute, time.Minute},
		"accepted, over":     {accepted(), nil, 0, 0},
		"refused":            {authenticationv1.TokenReviewStatus{}, nil, time.Hour, refusedFor},
		"could not be asked": {accepted(), errors.New("away"), time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &reviewer{status: tc.status, err: tc.err}
				reviews := NewTokenReviews(r)
				token := jwt(time.Now().Add(tc.life))
				ask := func(want int) {
					t.Helper()
					_, _ = reviews.Authenticate(t.Context(), token)
					if len(r.asked) != want {
						t.Errorf("asked %d times, want %d", len(r.asked), want)
					}
				}
				ask(1)
				if tc.fresh > 0 {
					time.Sleep(tc.fresh - time.Millisecond)
					ask(1)
					time.Sleep(time.Millisecond)
				}
				ask(2)
				_, _ = reviews.Authenticate(t.Context(), token+"x")
				if len(r.asked) != 3 {
					t.Error("another token was not asked about")
				}
			})
		})
	}
}

func TestTokensThatAreNotAsked(t *testing.T) {
	r := &reviewer{status: accepted()}
	_, err := NewTokenReviews(r).Authenticate(t.Context(), string(make([]byte, maxToken+1)))
	if !errors.Is(err, ErrUnauthenticated) || len(r.asked) != 0 {
		t.Errorf("a token that is too long: %v, asked %d times", err, len(r.asked))
	}
}
