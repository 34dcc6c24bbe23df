// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SecretName is the Secret of the CA, in the operator's namespace.
const SecretName = "weir-ca"

const (
	// pollEvery is how soon a replica sees what another one did; Overlap is a
	// many times as long.
	pollEvery = time.Hour
	// retryWait is doubled with every failure, up to retryMost.
	retryWait = 2 * time.Second
	retryMost = time.Minute
)

// Options of an Issuer.
type Options struct {
	// Reader must not cache: the operator keeps no Secrets in memory but this one.
	Reader client.Reader
	Writer client.Writer
	// Namespace of the operator and of its Service.
	Namespace string
	// Service is the name that certificates are for, with and without Namespace.
	Service string
	// Names are more names that certificates are for.
	Names []string
	Log   logr.Logger
}

// Issuer keeps a serving certificate for this replica, and the trust bundle of
// all. Its methods may be called at any time, by many.
type Issuer struct {
	opts Options

	mu      sync.RWMutex
	state   state
	version string // of the Secret that state is from
	serving *tls.Certificate
	bundle  []byte
	roots   *x509.CertPool
	watch   []chan struct{}
}

// NewIssuer returns an Issuer that does nothing before Start.
func NewIssuer(opts Options) *Issuer { return &Issuer{opts: opts} }

// ErrNotReady: the CA's Secret was not read yet.
var ErrNotReady = errors.New("the operator has no certificate yet: the Secret of its CA could not be read or written")

// GetCertificate is for tls.Config.
func (i *Issuer) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.serving == nil {
		return nil, ErrNotReady
	}
	return i.serving, nil
}

// Bundle is PEM of every CA to trust; nil before the first one is there.
func (i *Issuer) Bundle() []byte {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.bundle
}

// Roots is Bundle as a pool, for those who dial another replica.
func (i *Issuer) Roots() *x509.CertPool {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.roots == nil {
		return x509.NewCertPool()
	}
	return i.roots
}

// Changed returns a channel that has a value whenever Bundle has changed since
// the last one was taken, also before the call.
func (i *Issuer) Changed() <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := make(chan struct{}, 1)
	if i.bundle != nil {
		c <- struct{}{}
	}
	i.watch = append(i.watch, c)
	return c
}

// NeedLeaderElection is false: every replica serves.
func (i *Issuer) NeedLeaderElection() bool { return false }

// Start keeps certificates fresh until ctx ends.
func (i *Issuer) Start(ctx context.Context) error {
	retry := retryWait
	for {
		wait := pollEvery
		if err := i.refresh(ctx); err != nil && ctx.Err() == nil {
			i.opts.Log.Error(err, "certificates are not fresh; trying again", "in", retry.String())
			wait = retry
			retry = min(2*retry, retryMost)
		} else {
			retry = retryWait
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// refresh reads the Secret, advances it, and signs anew if need be.
func (i *Issuer) refresh(ctx context.Context) error {
	s, version, err := i.load(ctx)
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		if i.state.current == nil {
			return err
		}
		s, version = i.state, i.version // the API server is away: go on with the CA that is known
	}
	now := time.Now()
	i.state, i.version = s, version
	if b := s.bundle(); !bytes.Equal(b, i.bundle) {
		i.bundle = b
		i.roots = x509.NewCertPool()
		i.roots.AppendCertsFromPEM(b)
		for _, c := range i.watch {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
	if i.serving == nil || !now.Before(renewAt(i.serving.Leaf)) || i.serving.Leaf.CheckSignatureFrom(s.current.cert) != nil {
		serving, signErr := s.current.sign(now, append(names(i.opts.Service, i.opts.Namespace), i.opts.Names...))
		if signErr != nil {
			return errors.Join(err, signErr)
		}
		i.serving = serving
		i.opts.Log.Info("signed a serving certificate", "until", serving.Leaf.NotAfter)
	}
	return err
}

// load returns the state of the Secret, advanced and written, and its version.
func (i *Issuer) load(ctx context.Context) (state, string, error) {
	const attempts = 5 // of a race that one of two replicas loses once
	for range attempts {
		secret := &corev1.Secret{}
		err := i.opts.Reader.Get(ctx, client.ObjectKey{Namespace: i.opts.Namespace, Name: SecretName}, secret)
		exists := err == nil
		if client.IgnoreNotFound(err) != nil {
			return state{}, "", fmt.Errorf("read Secret %s/%s: %w", i.opts.Namespace, SecretName, err)
		}
		s, rewrite := i.read(secret, exists)
		s, advanced, err := s.advance(time.Now())
		if err != nil {
			return state{}, "", err
		}
		if !advanced && !rewrite {
			return s, secret.ResourceVersion, nil
		}
		err = i.write(ctx, secret, exists, s)
		if err == nil {
			return s, secret.ResourceVersion, nil
		}
		if !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return state{}, "", fmt.Errorf("write Secret %s/%s: %w", i.opts.Namespace, SecretName, err)
		}
	}
	return state{}, "", fmt.Errorf("write Secret %s/%s: others changed it %d times meanwhile", i.opts.Namespace, SecretName, attempts)
}

// read decodes the Secret. One that is gone or damaged is written again from
// memory, so that nobody's trust breaks; without that memory from the zero state.
func (i *Issuer) read(secret *corev1.Secret, exists bool) (s state, rewrite bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if !exists {
		return i.state, true
	}
	if i.state.current != nil && secret.ResourceVersion == i.version {
		return i.state, false
	}
	s, err := decodeState(secret.Data)
	if err != nil {
		i.opts.Log.Error(err, "the Secret of the CA is damaged and is written anew", "secret", SecretName)
		return i.state, true
	}
	return s, false
}

func (i *Issuer) write(ctx context.Context, secret *corev1.Secret, exists bool, s state) error {
	data, err := s.encode()
	if err != nil {
		return err
	}
	secret.Data = data
	if exists {
		return i.opts.Writer.Update(ctx, secret) // refused if it has changed since it was read
	}
	secret.ObjectMeta = metav1.ObjectMeta{Namespace: i.opts.Namespace, Name: SecretName, Labels: managed()}
	secret.Type = corev1.SecretTypeOpaque
	return i.opts.Writer.Create(ctx, secret)
}

func managed() map[string]string { return map[string]string{"app.kubernetes.io/managed-by": "weir"} }

// names of a Service, as clients inside a cluster may write them.
func names(service, namespace string) []string {
	return []string{
		service + "." + namespace + ".svc", service + "." + namespace, service, service + "." + namespace + ".svc.cluster.local",
	}
}

// Certificates are when those in use end.
func (i *Issuer) Certificates() (authority, serving time.Time) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	if i.serving == nil {
		return time.Time{}, time.Time{}
	}
	return i.state.current.cert.NotAfter, i.serving.Leaf.NotAfter
}
