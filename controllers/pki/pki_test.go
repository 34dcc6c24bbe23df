// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"weir.dev/weir/api/podspec"
)

func issuer(t *testing.T, c client.Client) *Issuer {
	return NewIssuer(Options{Reader: c, Writer: c, Namespace: "weir-system", Service: "weir-operator", Log: logr.Discard()})
}

func start(t *testing.T, i *Issuer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = i.Start(ctx) })
	return func() { cancel(); done.Wait() }
}

// verify that what one replica serves now is trusted under a bundle.
func verify(t *testing.T, i *Issuer, bundle []byte) {
	t.Helper()
	cert, err := i.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	for _, name := range []string{"weir-operator.weir-system.svc", "weir-operator.weir-system", "weir-operator", "weir-operator.weir-system.svc.cluster.local"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: time.Now()}); err != nil {
			t.Fatalf("at %v: %v", time.Now(), err)
		}
	}
}

func certs(t *testing.T, bundle []byte) []*x509.Certificate {
	t.Helper()
	list, err := decodeCerts(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Two replicas start at once and agree; over a rotation what either serves
// is trusted under any bundle that is younger than a day.
func TestReplicasRotateTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fake.NewClientBuilder().Build()
		a, b := issuer(t, store), issuer(t, store)
		defer start(t, a)()
		defer start(t, b)()
		time.Sleep(time.Second)
		synctest.Wait()
		if d := cmp.Diff(string(a.Bundle()), string(b.Bundle())); d != "" {
			t.Fatalf("bundles of two replicas (-a +b):\n%s", d)
		}
		if n := len(certs(t, a.Bundle())); n != 1 {
			t.Fatalf("first bundle has %d certificates", n)
		}
		seen := map[string]bool{}
		for range 270 {
			older := a.Bundle()
			time.Sleep(23 * time.Hour)
			for _, i := range []*Issuer{a, b} {
				verify(t, i, older)
				verify(t, i, i.Bundle())
				serving, _ := i.GetCertificate(nil)
				seen[serving.Leaf.Issuer.CommonName] = true
			}
		}
		if len(seen) != 2 {
			t.Errorf("after a rotation %d CAs have signed", len(seen))
		}
		if n := len(certs(t, a.Bundle())); n != 2 {
			t.Errorf("bundle has %d certificates, not the new CA and the old one", n)
		}
	})
}

func TestServingCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := issuer(t, fake.NewClientBuilder().Build())
		defer start(t, i)()
		time.Sleep(time.Second)
		first, _ := i.GetCertificate(nil)
		time.Sleep(ServingLife*2/3 - time.Hour)
		if got, _ := i.GetCertificate(nil); got != first {
			t.Error("renewed before two thirds of its life")
		}
		time.Sleep(2 * time.Hour)
		if got, _ := i.GetCertificate(nil); got == first {
			t.Error("not renewed after two thirds of its life")
		}
	})
}

// A Secret that is deleted or damaged comes back as it was.
func TestSecretIsRestored(t *testing.T) {
	for name, harm := range map[string]func(context.Context, client.Client, *corev1.Secret) error{
		"deleted": func(ctx context.Context, c client.Client, s *corev1.Secret) error { return c.Delete(ctx, s) },
		"damaged": func(ctx context.Context, c client.Client, s *corev1.Secret) error {
			s.Data[keyKey] = []byte("x")
			return c.Update(ctx, s)
		},
		"key of another": func(ctx context.Context, c client.Client, s *corev1.Secret) error {
			other, err := newAuthority(time.Now())
			if err != nil {
				return err
			}
			if s.Data[keyKey], err = other.encodeKey(); err != nil {
				return err
			}
			return c.Update(ctx, s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := fake.NewClientBuilder().Build()
				i := issuer(t, store)
				defer start(t, i)()
				time.Sleep(time.Second)
				before := i.Bundle()
				key := client.ObjectKey{Namespace: "weir-system", Name: SecretName}
				secret := &corev1.Secret{}
				if err := store.Get(t.Context(), key, secret); err != nil {
					t.Fatal(err)
				}
				want := secret.DeepCopy().Data
				if err := harm(t.Context(), store, secret); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * pollEvery)
				got := &corev1.Secret{}
				if err := store.Get(t.Context(), key, got); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got.Data); d != "" {
					t.Errorf("Secret (-want +got):\n%s", d)
				}
				if string(before) != string(i.Bundle()) {
					t.Error("the bundle changed")
				}
			})
		})
	}
}

// Without the API server there is no first certificate, and later the one that is
// there is used and renewed.
func TestAPIServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		store := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if away.Load() {
					return errors.New("connection refused")
				}
				return c.Get(ctx, key, obj, opts...)
			},
		})
		i := issuer(t, store)
		changed := i.Changed()
		stop := start(t, i)
		time.Sleep(10 * time.Second)
		if _, err := i.GetCertificate(nil); !errors.Is(err, ErrNotReady) {
			t.Errorf("got %v, want ErrNotReady", err)
		}
		if i.Bundle() != nil || len(changed) != 0 {
			t.Error("there is a bundle already")
		}
		synctest.Wait()
		away.Store(false)
		time.Sleep(retryMost)
		synctest.Wait()
		if len(changed) != 1 {
			t.Error("the bundle was not announced")
		}
		verify(t, i, i.Bundle())
		away.Store(true)
		first, _ := i.GetCertificate(nil)
		time.Sleep(ServingLife)
		if got, _ := i.GetCertificate(nil); got == first {
			t.Error("not renewed while the API server is away")
		}
		verify(t, i, i.Bundle())
		stop()
	})
}

// The loser of a race for the first Secret takes the winner's CA.
func TestLoserOfTheRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := fake.NewClientBuilder().Build()
		winner := issuer(t, store)
		raced := false
		loser := issuer(t, interceptor.NewClient(store, interceptor.Funcs{
			Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
				if !raced {
					raced = true
					if err := winner.refresh(ctx); err != nil {
						return err
					}
				}
				return c.Create(ctx, obj, opts...)
			},
		}))
		if err := loser.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		verify(t, loser, winner.Bundle())
	})
}

func TestWriteFails(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, SecretName, errors.New("no"))
	i := issuer(t, interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return forbidden },
	}))
	if err := i.refresh(t.Context()); !apierrors.IsForbidden(err) {
		t.Errorf("got %v, want it to say forbidden", err)
	}
}

// Whatever the times at which replicas look, no CA signs that was not published
// for a day, and none leaves the bundle before it expires.
func TestAdvance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var s state
		published := map[string]time.Time{}
		for range rapid.IntRange(2, 12).Draw(t, "steps") {
			next, changed, err := s.advance(now)
			if err != nil {
				t.Fatal(err)
			}
			if _, again, _ := next.advance(now); again {
				t.Fatalf("advancing twice at %v changes twice", now)
			}
			if !changed && s.current != next.current {
				t.Fatal("changed without saying so")
			}
			data, err := next.encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := decodeState(data)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(next.bundle()), string(back.bundle())); d != "" {
				t.Fatalf("bundle after a round trip (-want +got):\n%s", d)
			}
			bundle, err := decodeCerts(next.bundle())
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]bool{}
			for _, c := range bundle {
				in[string(c.Raw)] = true
				if _, ok := published[string(c.Raw)]; !ok {
					published[string(c.Raw)] = now
				}
			}
			if s.current != nil && next.current != s.current && now.Before(s.current.cert.NotAfter) {
				if since := now.Sub(published[string(next.current.cert.Raw)]); since < Overlap {
					t.Fatalf("a CA signs %v after it was published", since)
				}
			}
			if s.current != nil && now.Before(s.current.cert.NotAfter) && !in[string(s.current.cert.Raw)] {
				t.Fatal("a valid CA has left the bundle")
			}
			if !now.Before(next.current.cert.NotAfter) {
				t.Fatal("an expired CA signs")
			}
			s = next
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "pass")))
			if rapid.Bool().Draw(t, "day") {
				now = now.Add(Overlap)
			}
		}
	})
}

func TestHandshake(t *testing.T) {
	i := issuer(t, fake.NewClientBuilder().Build())
	if err := i.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{GetCertificate: i.GetCertificate, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: i.Roots(), ServerName: "weir-operator.weir-system.svc", MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

type bundle []byte

func (b bundle) Bundle() []byte { return b }

func TestEnsure(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	current, err := newAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newAuthority(now)
	if err != nil {
		t.Fatal(err)
	}
	own := state{current: current, old: []*x509.Certificate{other.cert}}.bundle()
	leaders := state{current: other, old: []*x509.Certificate{current.cert}}.bundle()
	stale := state{current: other}.bundle()
	for name, tc := range map[string]struct {
		there, bundle, want []byte
		err                 error
	}{
		"absent":                         {nil, own, own, nil},
		"as it is":                       {own, own, own, nil},
		"the leader's, which knows ours": {leaders, own, leaders, nil},
		"of an earlier installation":     {stale, own, own, nil},
		"no CA yet":                      {stale, nil, stale, ErrNotReady},
	} {
		t.Run(name, func(t *testing.T) {
			store := fake.NewClientBuilder().Build()
			cm := &corev1.ConfigMap{}
			cm.Namespace, cm.Name = "pay", podspec.ConfigMapCA
			if tc.there != nil {
				cm.Data = map[string]string{podspec.KeyCA: string(tc.there)}
				if err := store.Create(t.Context(), cm); err != nil {
					t.Fatal(err)
				}
			}
			trust := &Trust{Bundler: bundle(tc.bundle), Reader: store, Writer: store}
			if err := trust.Ensure(t.Context(), "pay"); !errors.Is(err, tc.err) {
				t.Errorf("got error %v, want %v", err, tc.err)
			}
			if err := store.Get(t.Context(), client.ObjectKeyFromObject(cm), cm); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(tc.want), cm.Data[podspec.KeyCA]); d != "" {
				t.Errorf("ConfigMap (-want +got):\n%s", d)
			}
		})
	}
}
