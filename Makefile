# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The same flags everywhere, so that all builds share one cache.
export GOFLAGS := -buildvcs=false
export GOTOOLCHAIN := local
VERSION ?= dev
BUILD := CGO_ENABLED=0 go build -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$(VERSION)"
LINT = $$(go -C hack/tools/lint tool -n golangci-lint)

##@ See it

demo: ## A limit on real pods, on a one-node Kubernetes that this builds (Linux, root)
	@hack/demo/demo.sh

demo-down: ## Take away what demo has made
	@hack/demo/down.sh

tour: ## The same story in one process, without a cluster (go run ./cmd/weir demo)
	@hack/demo/tour.sh

##@ Test

test: ## Unit tests with the race detector, and envtest against a real API server
	assets=$$(hack/envtest/assets.sh); \
	KUBEBUILDER_ASSETS="$$assets" CGO_ENABLED=1 go test -race $(if $(RUN),-run '$(RUN)') ./...
	cd hack/image && go test ./...

e2e: ## The suite on the one-node cluster, or on WEIR_KUBECONTEXT; E2E_RUN=<pattern> picks tests
	test/e2e/run.sh

conformance-h2: ## h2spec against Weir and against net/http alone; Weir may fail nothing more
	hack/conformance/h2spec.sh

bench-http: ## Weir beside Envoy, nginx and HAProxy: CPU, latency, memory; BENCH_FLAGS=--write=docs/benchmarks keeps it (Linux, two cores)
	dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; \
	envoy="$$(hack/bench/envoy.sh || true)"; \
	$(BUILD) -o "$$dir/" ./cmd/weir-sidecar ./test/bench/cmd/bench-http; \
	"$$dir/bench-http" --weir "$$dir/weir-sidecar" --envoy "$$envoy" \
	  --version "$$(git describe --always --dirty 2>/dev/null || echo $(VERSION))" $(BENCH_FLAGS)

bench-ratelimit: ## One limit through Redis: Weir beside Envoy with a rate limit service and redis_rate; BENCH_FLAGS as above (Linux, two cores)
	dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; \
	envoy="$$(hack/bench/envoy.sh || true)"; \
	$(BUILD) -o "$$dir/" ./cmd/weir-sidecar ./test/bench/cmd/bench-ratelimit ./test/bench/peer/redisrate; \
	"$$dir/bench-ratelimit" --weir "$$dir/weir-sidecar" --envoy "$$envoy" --redisrate "$$dir/redisrate" \
	  --version "$$(git describe --always --dirty 2>/dev/null || echo $(VERSION))" $(BENCH_FLAGS)

bench-idempotency: ## Requests executed once, and replays: Weir beside a net/http middleware with go-redis; BENCH_FLAGS as above (Linux, two cores)
	dir="$$(mktemp -d)"; trap 'rm -rf "$$dir"' EXIT; \
	$(BUILD) -o "$$dir/" ./cmd/weir-sidecar ./test/bench/cmd/bench-idempotency ./test/bench/peer/naiveidem; \
	"$$dir/bench-idempotency" --weir "$$dir/weir-sidecar" --naive "$$dir/naiveidem" \
	  --version "$$(git describe --always --dirty 2>/dev/null || echo $(VERSION))" $(BENCH_FLAGS)

test-envoy: ## A real Envoy asks Weir's rate limit service, with the configuration of docs/gateway.md
	WEIR_TEST_ENVOY="$$(hack/bench/envoy.sh)" go test -count=1 -run TestEnvoy -v ./sidecar/rls/

test-thrift: ## Apache Thrift's cross-test, directly and through Weir: Python and Go, a small matrix
	hack/conformance/thrift.sh

soak-thrift: ## The same with Node, Java, multiplexed services and HTTP: the whole matrix
	hack/conformance/thrift.sh --full

conformance-websocket: ## Autobahn's WebSocket suite, directly and through Weir (Python 2.7)
	hack/conformance/autobahn.sh

conformance-stripe: ## stripe-python's own keys and retries through Weir: one charge per call (Python 3)
	hack/conformance/stripe.sh

soak-idempotency: ## 10,000 payments per guarantee and kind of fault, under a nemesis; FAULTS_FLAGS=-faults.seed=<n> repeats one (an hour at most)
	go test -count=1 -timeout 90m -v ./test/faults/idempotency -args -faults.keys=10000 $(FAULTS_FLAGS)

verify: verify-generated verify-format lint chart ## Generated code, format, lint, import rules, chart

verify-generated:
	hack/codegen/verify.sh
	hack/verify/mod.sh

verify-format:
	hack/verify/format.sh

lint: ## golangci-lint with .golangci.yaml, and the import rules
	$(LINT) run
	$(LINT) run --build-tags e2e ./test/e2e/...
	go test -count=1 ./test/imports

chart: ## Lint and tests of the chart, with helm and a real API server; that config/ is what it makes
	hack/verify/chart.sh

##@ Build

build: ## The three programs into bin/
	$(BUILD) -o bin/ ./cmd/weir-operator ./cmd/weir-sidecar ./cmd/weir
	ln -sf weir bin/kubectl-weir

install: ## weir and kubectl-weir into GOBIN
	CGO_ENABLED=0 go install -trimpath -tags grpcnotrace -ldflags "-s -w -X main.version=$(VERSION)" ./cmd/weir
	bin="$$(go env GOBIN | grep . || echo "$$(go env GOPATH)/bin")"; \
	ln -sf weir "$$bin/kubectl-weir"; \
	printf '#!/bin/sh\nexec kubectl-weir __complete "$$@"\n' >"$$bin/kubectl_complete-weir"; \
	chmod +x "$$bin/kubectl_complete-weir"; \
	echo "weir and kubectl-weir are in $$bin; is it in your PATH?"

images: ## Images into dist/images.tar, without Docker; WEIR_REGISTRY pushes them
	WEIR_VERSION=$(VERSION) hack/image/build.sh

generate: ## Deepcopy, CRDs, protobuf, the chart's copy of the CRDs, docs/api.md; config/ from the chart
	hack/codegen/generate.sh
	hack/codegen/chart.sh

fmt: ## Format the Go code
	gofmt -w $$(git ls-files '*.go' | grep -vE 'zz_generated|\.pb\.go$$')

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo demo-down tour test e2e conformance-h2 bench-http bench-ratelimit bench-idempotency test-envoy test-thrift soak-thrift conformance-websocket conformance-stripe soak-idempotency verify verify-generated verify-format lint chart build install images generate fmt help
