# Omnitron. `make help` lists the targets.
SHELL := /bin/bash
GO ?= go
export CGO_ENABLED ?= 0
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
KEEPER := cmd/boot/keeper.bin
BIN := bin/omnitron
# A tag v1.2.3 is 1.2.3; anything else comes before every release.
DEB_VERSION ?= $(shell echo '$(VERSION)' | sed -nE 's/^v([0-9].*)/\1/; t p; s/^/0.0.0~git/; :p s/-/+/gp; t; p')
PACKAGE := bin
NFPM := $(GO) run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0

.DEFAULT_GOAL := help
.PHONY: help build run test check short golden docs e2e conformance fuzz mutants bench package setup clean

help: ## list the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build bin/omnitron, with the keeper in it
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(KEEPER) ./cmd/omnitron-keeper
	@$(GO) build -trimpath -tags embedkeeper -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/omnitron
	@echo "built $(BIN) ($$(du -h $(BIN) | cut -f1)), keeper $$(du -h $(KEEPER) | cut -f1)"

run: build ## build, start a sample project and show it
	@$(BIN) demo

package: build ## make bin/omnitron_VERSION_ARCH.deb, with unit, manual and completion
	@rm -rf $(PACKAGE)/files
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) $(GO) run -tags packaging ./cmd/omnitron packaging $(PACKAGE)/files
	@SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || date +%s) DEB_VERSION=$(DEB_VERSION) DEB_ARCH=$$($(GO) env GOARCH) DEB_BINARY=$(BIN) DEB_FILES=$(PACKAGE)/files \
		$(NFPM) package --packager deb --config cmd/omnitron/deb/nfpm.yaml --target $(PACKAGE)
	@rm -rf $(PACKAGE)/files

setup: ## install what the tests need (Debian, root)
	@.ci/setup

test: setup ## install what is needed, then run everything
	@.ci/test

check: ## format, vet, tests with the race detector, goldens and docs current
	@.ci/check

short: build ## the quick tests
	@$(GO) test -short ./...

golden: build ## rewrite golden files: read the diff before you commit it
	@$(GO) test ./tools -update
	@$(GO) test ./core/config -run 'TestGood|TestBad' -update
	@$(GO) test ./mcp ./cmd/cli -update

docs: ## rewrite docs/tools.md, docs/access.md and docs/cli.md
	@$(GO) run ./tools/docs/gen docs
	@$(GO) run ./cmd/omnitron help reference > docs/cli.md

e2e: build ## every scenario with full counts
	@OMNITRON_E2E=1 $(GO) test -count=1 -timeout 80m -v ./evals/... ./cmd/omnitron/...

conformance: build ## the protocol's own suite and the clients of others, over HTTP (installs node 22 from npm)
	@npm ci --prefix evals/conformance/node --ignore-scripts --no-audit --no-fund --loglevel error
	@OMNITRON_BINARY="$$PWD/$(BIN)" $(GO) test -count=$${RUNS:-3} -timeout 30m ./evals/conformance

fuzz: ## each fuzz target for a minute
	@.ci/fuzz 60s

mutants: build ## break one line at a time; each must turn a test red
	@$(GO) run ./evals/mutants

bench: build ## one table of figures beside the peers, in one run
	@$(GO) run ./evals/bench

clean: ## remove what was built
	@rm -rf bin $(KEEPER)
