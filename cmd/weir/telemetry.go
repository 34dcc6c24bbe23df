// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"weir.dev/weir/controllers/config"
)

// telemetryFlags are the operator's telemetry, as flags.
type telemetryFlags struct {
	accessLog   string
	logSample   float64
	otlp        string
	traceSample float64
}

const (
	flagAccessLog   = "access-log"
	flagLogSample   = "access-log-sample"
	flagOTLP        = "otlp"
	flagTraceSample = "trace-sample"
)

func (f *telemetryFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.accessLog, flagAccessLog, "off", "which requests have a line in the output: off, errors, sampled or all")
	c.Flags().Float64Var(&f.logSample, flagLogSample, config.DefaultLogSample, "with --access-log sampled: PERCENT of the requests that are no errors")
	c.Flags().StringVar(&f.otlp, flagOTLP, "", "HOST:PORT of a collector that takes spans over OTLP/gRPC without TLS (default: no spans)")
	c.Flags().Float64Var(&f.traceSample, flagTraceSample, config.DefaultTraceSample, "PERCENT of requests without a traceparent that have a span")
}

// settings checks the flags of c as the operator checks its configuration.
func (f *telemetryFlags) settings(c *cobra.Command) (config.Telemetry, error) {
	mode, ok := map[string]config.AccessLogMode{
		"off": config.AccessLogOff, "errors": config.AccessLogErrors, "sampled": config.AccessLogSampled, "all": config.AccessLogAll,
	}[strings.ToLower(f.accessLog)]
	switch {
	case !ok:
		return config.Telemetry{}, fmt.Errorf("--%s %q is not known; use off, errors, sampled or all", flagAccessLog, f.accessLog)
	case c.Flags().Changed(flagLogSample) && mode != config.AccessLogSampled:
		return config.Telemetry{}, fmt.Errorf("--%s goes with --%s sampled", flagLogSample, flagAccessLog)
	case c.Flags().Changed(flagTraceSample) && f.otlp == "":
		return config.Telemetry{}, fmt.Errorf("--%s goes with --%s", flagTraceSample, flagOTLP)
	}
	cfg := config.Default()
	cfg.Telemetry = config.Telemetry{
		AccessLog: config.AccessLog{Mode: mode, SamplePercent: &f.logSample},
		Tracing:   config.Tracing{Endpoint: f.otlp, SamplePercent: &f.traceSample},
	}
	err := cfg.Validate()
	if field := (*config.Field)(nil); errors.As(err, &field) {
		flag, ok := map[string]string{
			"telemetry.accessLog.samplePercent": flagLogSample,
			"telemetry.tracing.endpoint":        flagOTLP,
			"telemetry.tracing.samplePercent":   flagTraceSample,
		}[field.Path]
		if ok {
			err = fmt.Errorf("--%s: %s", flag, field.Message)
		}
	}
	return cfg.Telemetry, err
}
