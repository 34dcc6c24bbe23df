// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const system = "weir-system"

func options(c client.Client, log *bytes.Buffer) Options {
	return Options{Client: c, Namespace: system, Log: slog.New(slog.NewTextHandler(log, nil))}
}

func rootSecret(current, previous string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: SecretName}, Data: map[string][]byte{MemberCurrent: []byte(current)}}
	if previous != "" {
		s.Data[MemberPrevious] = []byte(previous)
	}
	return s
}

// The first start makes a key, every other takes it, and so does a replica that was
// about to make one too.
func TestRootIsMadeOnce(t *testing.T) {
	var log bytes.Buffer
	c := fake.NewClientBuilder().Build()
	first, err := OpenRoot(t.Context(), options(c, &log))
	if err != nil {
		t.Fatal(err)
	}
	var s corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: SecretName}, &s); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Data[MemberCurrent]); n != rootBytes || len(s.Data) != 1 {
		t.Errorf("the Secret has %d bytes and %d members", n, len(s.Data))
	}
	late := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(ctx context.Context, w client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			other := s.DeepCopy()
			other.ResourceVersion = ""
			if err := w.Create(ctx, other); err != nil {
				return err
			}
			return w.Create(ctx, o, opts...)
		},
	})
	for name, c := range map[string]client.Client{"again": c, "second of two at once": late} {
		r, err := OpenRoot(t.Context(), options(c, &log))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(first.pair.current, r.pair.current); d != "" {
			t.Errorf("%s: another key", name)
		}
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", first.pair, &first.pair, first.pair), string(first.pair.current)) {
		t.Error("a key is printed")
	}
}

func TestRootIsRefused(t *testing.T) {
	long := strings.Repeat("k", rootBytes)
	for name, s := range map[string]*corev1.Secret{
		"short": rootSecret(long[1:], ""), "empty": rootSecret("", ""), "short previous": rootSecret(long, "abc"),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := fake.NewClientBuilder().WithObjects(s).Build()
			_, err := OpenRoot(t.Context(), options(c, &log))
			if err == nil || !strings.Contains(err.Error(), "32 at the least") || strings.Contains(err.Error(), long[1:]) {
				t.Errorf("got %v", err)
			}
			var after corev1.Secret
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), &after); err != nil || !cmp.Equal(after.Data, s.Data) {
				t.Errorf("the Secret was changed (%v)", err)
			}
		})
	}
}

// A rotation is seen, a Secret that is gone comes back as it was, and one that cannot be
// read changes nothing.
func TestRootIsRefreshed(t *testing.T) {
	var log bytes.Buffer
	one, two := strings.Repeat("1", rootBytes), strings.Repeat("2", rootBytes)
	s := rootSecret(one, "")
	c := fake.NewClientBuilder().WithObjects(s).Build()
	r, err := OpenRoot(t.Context(), options(c, &log))
	if err != nil {
		t.Fatal(err)
	}
	refreshed := func(want pair, changed bool) {
		t.Helper()
		r.refresh(t.Context())
		if !bytes.Equal(r.pair.current, want.current) || !bytes.Equal(r.pair.previous, want.previous) {
			t.Errorf("another key than was wanted")
		}
		select {
		case <-r.Changed():
			if !changed {
				t.Error("a change is signalled")
			}
		default:
			if changed {
				t.Error("no change is signalled")
			}
		}
	}
	both := pair{[]byte(two), []byte(one)}
	refreshed(pair{current: []byte(one)}, false)
	s = rootSecret(two, one)
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	refreshed(both, true)
	if err := c.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	refreshed(both, false)
	var back corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), &back); err != nil || !cmp.Equal(back.Data, s.Data) {
		t.Errorf("it did not come back (%v)", err)
	}
	if err := c.Update(t.Context(), rootSecret("short", "")); err != nil {
		t.Fatal(err)
	}
	refreshed(both, false)
	if out := log.String(); strings.Contains(out, one) || strings.Contains(out, two) || !strings.Contains(out, "made again from memory") {
		t.Errorf("log:\n%s", out)
	}
}

func userSecret(name string, labelled bool, value string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "u-1"}, Data: map[string][]byte{"secret": []byte(value)}}
	if labelled {
		s.Labels = map[string]string{LabelUse: UseTrue}
	}
	return s
}

func TestSecretsAreReadByLabel(t *testing.T) {
	var log bytes.Buffer
	whole := 0
	c := interceptor.NewClient(
		fake.NewClientBuilder().WithObjects(userSecret("good", true, "value"), userSecret("private", false, "value")).Build(),
		interceptor.Funcs{Get: func(ctx context.Context, w client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, is := o.(*corev1.Secret); is {
				whole++
				if key.Name == "private" {
					t.Error("the content of a Secret without the label was read")
				}
			}
			switch key.Name {
			case "denied":
				return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, key.Name, errors.New("no"))
			case "broken":
				return apierrors.NewServerTimeout(schema.GroupResource{Resource: "secrets"}, "get", 1)
			}
			return w.Get(ctx, key, o, opts...)
		}})
	s := NewSecrets(options(c, &log))
	for name, want := range map[string]Secret{
		"good": {Found: true, Labelled: true}, "private": {Found: true}, "missing": {}, "denied": {Denied: true},
	} {
		got, err := s.Get(t.Context(), "shop", name)
		if err != nil {
			t.Fatal(err)
		}
		if (got.Version != "") != want.Labelled || (string(got.Data["secret"]) == "value") != want.Labelled {
			t.Errorf("%s has version %q and %d members", name, got.Version, len(got.Data))
		}
		if got.Version, got.Data = "", nil; !same(got, want) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if _, err := s.Get(t.Context(), "shop", "broken"); err == nil {
		t.Error("an API server that does not tell is no error")
	}
	if _, err := s.Get(t.Context(), "shop", "good"); err != nil || whole != 1 {
		t.Errorf("it was read %d times (%v)", whole, err)
	}
	if got := fmt.Sprintf("%v %+v %#v", s.known, s.known, s.known); strings.Contains(got, "value") {
		t.Errorf("a key is printed: %s", got)
	}
}

func TestSecretsAreWatched(t *testing.T) {
	var log bytes.Buffer
	c := fake.NewClientBuilder().WithObjects(userSecret("keys", true, "one")).Build()
	s := NewSecrets(options(c, &log))
	refreshed := func(want string, changed bool) {
		t.Helper()
		s.refresh(t.Context())
		got, err := s.Get(t.Context(), "shop", "keys")
		if err != nil || string(got.Data["secret"]) != want {
			t.Errorf("got %q (%v), want %q", got.Data["secret"], err, want)
		}
		if dirty := s.Take(); (len(dirty) == 1 && dirty[0] == "shop") != changed || len(s.Changed()) > 0 != changed {
			t.Errorf("changed are %v, want shop: %v", dirty, changed)
		}
		for len(s.Changed()) > 0 {
			<-s.Changed()
		}
	}
	if _, err := s.Get(t.Context(), "shop", "keys"); err != nil {
		t.Fatal(err)
	}
	refreshed("one", false)
	change := func(labelled bool, value string) {
		t.Helper()
		if err := c.Update(t.Context(), userSecret("keys", labelled, value)); err != nil {
			t.Fatal(err)
		}
	}
	change(true, "two")
	refreshed("two", true)
	refreshed("two", false)
	change(false, "two")
	refreshed("", true)
	change(true, "three")
	refreshed("three", true)
	if err := c.Delete(t.Context(), userSecret("keys", true, "")); err != nil {
		t.Fatal(err)
	}
	refreshed("", true)
	s.Keep("shop", nil)
	if len(s.known) != 0 {
		t.Errorf("%d Secrets are remembered that nobody names", len(s.known))
	}
}
