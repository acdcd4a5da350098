# What can be done in this repository; `make help` prints it. Nothing here needs
# more than Go and git, and `make lint` and what builds other programs fetch what
# they need as Go modules.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
COMMITTED ?= $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION) -X main.committed=$(COMMITTED)
TOOL    := go tool -modfile=.ci/tools/go.mod
CGO     := $(shell go env CGO_ENABLED)
RACE    := $(if $(filter 1,$(CGO)),-race)

.DEFAULT_GOAL := build
.PHONY: help build run test chaos soak promises lint consul traefik consul-template envoy-config fuzz bench bench-scale bench-peers plots cover vulncheck release reproduce clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r target text; do printf '  make %-16s %s\n' "$$target" "$$text"; done

build: ## build bin/rollcall, one static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/rollcall ./cmd/rollcall

run: build ## build, and serve on the embedded registry
	bin/rollcall serve

test: build consul ## run every test, with the race detector
	@test -n '$(RACE)' || echo 'make test: there is no C compiler, which the race detector needs: testing WITHOUT it' >&2
	go test $(RACE) -timeout 30m ./... ./testdata/chaos

CHAOS_TIME ?= 10m
CHAOS_SEED ?= $(shell date +%s)

chaos: consul ## break everything around rollcall for CHAOS_TIME, at random from CHAOS_SEED, and print what was lost
	CHAOS_TIME=$(CHAOS_TIME) CHAOS_SEED=$(CHAOS_SEED) go test ./testdata/chaos -run '^TestChaos$$' -v -count 1 -timeout 0

SOAK_TIME ?= 24h

soak: ## have rollcall do everything at half load for SOAK_TIME, and print how its memory grows
	SOAK_TIME=$(SOAK_TIME) go test ./testdata/chaos -run '^TestSoak$$' -v -count 1 -timeout 0

promises: build consul ## run the tests that docs/reliability.md names in their long form, and print their figures; it takes an hour
	@mkdir -p bin
	ROLLCALL_LONG=1 go test -v -p 1 -count 1 -timeout 3h -run "^($$(grep -o 'Test[A-Z][A-Za-z0-9]*' docs/reliability.md | sort -u | paste -s -d '|'))$$" ./... >bin/promises.txt 2>&1; \
		status=$$?; grep -vE '^=== |no test(s to run| files)|^PASS$$' bin/promises.txt; exit $$status

lint: ## gofmt, go vet and staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted >&2; exit 1; }
	go vet ./... ./testdata/chaos
	$(TOOL) staticcheck ./... ./testdata/chaos

consul: ## build the Consul that tests start, at bin/consul; the first time it takes minutes
	testdata/consul/build

traefik: bin/traefik ## build the Traefik that tests start; the first time it takes minutes

consul-template: bin/consul-template ## build the consul-template that tests start

envoy-config: bin/envoy-config ## build what reads configurations of Envoy's by Envoy's definitions

# The programs that tests start are each a module of its own, which names their versions.
STARTED := CGO_ENABLED=0 nice go build -trimpath -ldflags '-s -w'

bin/traefik: testdata/traefik/go.mod
	cd testdata/traefik && $(STARTED) -o ../../bin/traefik github.com/traefik/traefik/v3/cmd/traefik

bin/consul-template: testdata/consul-template/go.mod
	cd testdata/consul-template && $(STARTED) -o ../../bin/consul-template github.com/hashicorp/consul-template

bin/envoy-config: testdata/envoy/go.mod testdata/envoy/main.go
	cd testdata/envoy && $(STARTED) -o ../../bin/envoy-config .

COUNT ?= 6

FUZZTIME ?= 60s

fuzz: ## run every fuzz target for FUZZTIME each, 60s unless it says otherwise
	@go list ./... | while read -r package; do \
		go test -list '^Fuzz' "$$package" | grep '^Fuzz' | while read -r target; do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" || exit 1; \
		done || exit 1; \
	done

bench: ## run the Go benchmarks of all packages, COUNT times each, as benchstat reads them
	go test -run '^$$' -bench . -benchmem -count $(COUNT) -timeout 2h ./...

bench-scale: ## print what an instance costs, from 1,000 of them to 1,000,000, and how fast changes are
	ROLLCALL_LONG=1 ROLLCALL_SCALE_CSV=$(CURDIR)/docs/scale.csv go test ./cmd/rollcall -run '^Test(Scale|LatencyDuringRegistrations|LatencyWithPriority|RegistrationsOverHTTP|TheNextQueryShowsIt)$$' -v -count 1 -timeout 1h
	go test ./registry/embedded -run '^$$' -bench '^BenchmarkRegister$$' -benchtime 3s

bench-peers: build ## measure rollcall and other DNS servers side by side; PEERS passes flags on
	go run ./testdata/bench/peers --csv docs/performance.csv $(PEERS)

plots: ## draw the pictures of docs/performance.md from the data beside it
	go run ./testdata/bench/plot docs

cover: ## print each package's test coverage, and leave the profile in bin/cover.out
	@mkdir -p bin
	go test -coverprofile bin/cover.out ./...
	@go tool cover -func bin/cover.out | tail -1

VULNDB ?= https://vuln.go.dev

vulncheck: ## look for known vulnerabilities in VULNDB, if it can be reached
	@$(TOOL) govulncheck -db $(VULNDB) ./... || { code=$$?; test $$code -eq 3 || \
		echo 'make vulncheck: if $(VULNDB) did not answer above, NOTHING was checked: VULNDB=file:///... names a copy of it' >&2; exit $$code; }

release: ## build bin/release: a program for each platform, what is in it, and checksums; SIGNING_KEY signs them
	VERSION=$(VERSION) REVISION=$(REVISION) COMMITTED=$(COMMITTED) .ci/release

reproduce: ## build a release twice, in two directories, and fail unless it is the same
	.ci/reproduce

clean: ## remove what was built
	rm -rf bin
