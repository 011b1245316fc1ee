# Everything here works on a fresh Debian machine with Go. Packages that are
# missing are installed where that is allowed (see scripts/setup).
GO ?= go
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help

## help: list what can be made
help:
	@sed -n 's/^## \([a-z-]*\): /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

## run: set up, build, and start the server with the demo
run: setup-run build
	./bin/bb up --demo

## build: build bin/bb
build:
	$(GO) build -trimpath -o bin/bb ./cmd/bb

## test: set up and run all tests, with the race detector, on real servers of their own
test: setup-test
	BB_TEST_ENGINES=1 CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 40m ./...
	@$(MAKE) --no-print-directory test-ui

## test-ui: the tests of the web page, in a real browser too; without npm or Chromium it says that it skips
test-ui: build
	sh scripts/ui test

## test-quick: the tests without servers of others, for the way between two edits
test-quick: setup-test
	BB_TEST_ENGINES=0 CGO_ENABLED=1 $(GO) test -race -short -shuffle=on -timeout 15m ./...

## lint: format, vet, staticcheck, known vulnerabilities
lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these files"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	sh scripts/vulncheck
	cd bench && $(GO) vet ./...

## generate: make the generated files anew
generate:
	$(GO) generate ./...

## fresh: fail when a generated file is not current
fresh: generate
	git diff --exit-code
	sh scripts/ui fresh

## ui: build the web page into webui/dist, which is committed
ui:
	sh scripts/ui build

## bench: measure everything against its bar, in one run
bench: setup-test build
	cd bench && $(GO) run ./cmd/bars

## torture: kill and freeze everything at random points, 150 rounds each on embedded and on real engines (ROUNDS=n, SEED=n)
torture: setup-test
	BB_TEST_ENGINES=1 CGO_ENABLED=1 $(GO) test -race -v -run 'TestTorture(Embedded|RealEngines|NATS)' -count 1 -timeout 120m ./cli \
		-torture.rounds=$(or $(ROUNDS),150) -torture.seed=$(or $(SEED),0)

## soak: a million events through RabbitMQ, which restarts every 10 s, and through the embedded bus (EVENTS=n)
soak: setup-test
	BB_TEST_ENGINES=1 $(GO) test -v -run 'TestSoak' -count 1 -timeout 180m ./cli -soak.events=$(or $(EVENTS),1000000)

## fuzz: fuzz every decoder for a while (TIME=30s each)
fuzz:
	sh scripts/fuzz $(or $(TIME),30s)

## demo-clip: speak the demo's sentence anew (needs flite and sox)
demo-clip: setup-test
	sh scripts/demo-clip

setup-run:
	@sh scripts/setup run

setup-test:
	@sh scripts/setup test

.PHONY: help run build test test-quick test-ui lint generate fresh ui bench torture soak fuzz demo-clip setup-run setup-test
