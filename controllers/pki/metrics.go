// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers weir_certificate_not_after_seconds{certificate} of an issuer.
func Register(r prometheus.Registerer, i *Issuer) error {
	gauge := func(name string, end func() time.Time) error {
		return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "weir_certificate_not_after_seconds",
			Help:        "When the certificate ends, as Unix time; 0 before there is one.",
			ConstLabels: prometheus.Labels{"certificate": name},
		}, func() float64 {
			if t := end(); !t.IsZero() {
				return float64(t.Unix())
			}
			return 0
		}))
	}
	return errors.Join(
		gauge("ca", func() time.Time { t, _ := i.Certificates(); return t }),
		gauge("serving", func() time.Time { _, t := i.Certificates(); return t }),
	)
}
