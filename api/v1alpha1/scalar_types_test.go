// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"weir.dev/weir/api/v1alpha1"
)

func TestAsDuration(t *testing.T) {
	cases := map[v1alpha1.WholeSeconds]struct {
		want    time.Duration
		wantErr bool
	}{
		"":        {want: 0},
		"60s":     {want: time.Minute},
		"1h30m":   {want: 90 * time.Minute},
		"99999h":  {want: 99999 * time.Hour},
		"a while": {wantErr: true},
	}
	for text, c := range cases {
		got, err := text.AsDuration()
		if got != c.want || (err != nil) != c.wantErr {
			t.Errorf("%q: got %v and error %v, want %v and an error: %v", text, got, err, c.want, c.wantErr)
		}
	}
}

func TestBytes(t *testing.T) {
	cases := map[v1alpha1.ByteSize]struct {
		want    int64
		wantErr bool
	}{
		"":      {want: 0},
		"1":     {want: 1},
		"256Ki": {want: 256 << 10},
		"1Mi":   {want: 1 << 20},
		"1Gi":   {want: 1 << 30},
		"1KB":   {wantErr: true},
		"Ki":    {wantErr: true},
	}
	for text, c := range cases {
		got, err := text.Bytes()
		if got != c.want || (err != nil) != c.wantErr {
			t.Errorf("%q: got %d and error %v, want %d and an error: %v", text, got, err, c.want, c.wantErr)
		}
	}
}

func TestAddToScheme(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{v1alpha1.KindRateLimitPolicy, v1alpha1.KindIdempotencyPolicy, v1alpha1.KindCallbackRoute} {
		for _, name := range []string{kind, kind + "List"} {
			if !scheme.Recognizes(v1alpha1.GroupVersion.WithKind(name)) {
				t.Errorf("the scheme does not know %s", name)
			}
		}
	}
}
