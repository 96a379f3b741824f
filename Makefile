# Superserve for Kubernetes. `make help` lists what there is.
#
# demo and test set up what they need: on Debian as root they install missing packages, elsewhere they say what is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := artifacts/bin
MINUTES := 60
SECONDS_AWAY := 120
SIDECAR := $(BIN)/superserve-sidecar
RID := $(if $(filter aarch64 arm64,$(shell uname -m)),linux-arm64,linux-x64)
SOURCES := $(shell find core sidecar -name '*.cs' -o -name '*.csproj' -o -name '*.proto' -o -name '*.json' -o -name '*.dat' | grep -v -e /bin/ -e /obj/) \
           Directory.Build.props Directory.Packages.props global.json .editorconfig BannedSymbols.txt

.PHONY: help build demo demo-local bench soak faults test test-unit test-crds mutate image-archives check-images format check-format clean setup-build setup-test setup-clients setup-bench setup-images

help: ## Shows this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

build: setup-build $(SIDECAR) ## Builds artifacts/bin/superserve-sidecar, native and stripped.

$(SIDECAR): $(SOURCES)
	dotnet publish sidecar/Superserve.Sidecar -c Release -r $(RID) -o artifacts/publish/sidecar --nologo -v quiet
	mkdir -p $(BIN)
	install -m 0755 artifacts/publish/sidecar/superserve-sidecar $@

OPERATOR := operator/Superserve.Operator/bin/Release/net10.0/superserve-operator.dll
APISERVER := tests/Superserve.ApiServer/bin/Release/net10.0/Superserve.ApiServer.dll

demo: setup-test $(SIDECAR) ## From kubectl apply to a swapped request, without a cluster. Ends by itself.
	dotnet build operator/Superserve.Operator -c Release --nologo -v quiet
	dotnet build tests/Superserve.ApiServer -c Release --nologo -v quiet
	examples/cluster/demo.sh $(SIDECAR) $(OPERATOR) $(APISERVER)

demo-local: setup-test $(SIDECAR) ## The same of the sidecar alone, without Kubernetes.
	examples/local/demo.sh $(SIDECAR)

bench: setup-bench $(SIDECAR) ## Measures delivery, admission, requests, connections and the audit service, and writes docs/benchmarks.md; as root, an hour.
	dotnet build tests/Superserve.Benchmarks -c Release --nologo -v quiet
	dotnet run --project tests/Superserve.Benchmarks -c Release --no-build

soak: setup-bench $(SIDECAR) ## Mixed traffic through the sidecar, and whether it leaks; as root, an hour, or MINUTES=10.
	dotnet build tests/Superserve.Benchmarks -c Release --nologo -v quiet
	dotnet run --project tests/Superserve.Benchmarks -c Release --no-build -- --soak $(MINUTES)

faults: setup-test $(SIDECAR) ## Lets parts of the audit log fail under traffic, and looks whether it has every request once; half an hour, or SECONDS_AWAY=10.
	dotnet build tests/Superserve.Benchmarks -c Release --nologo -v quiet
	dotnet run --project tests/Superserve.Benchmarks -c Release --no-build -- --faults $(SECONDS_AWAY)

test: setup-test setup-clients $(SIDECAR) check-format ## Runs every test; a test that cannot run counts as failed.
	build/test.sh

test-unit: setup-build ## Runs the tests of the pure rules alone.
	dotnet test --project tests/Superserve.Core.Tests

test-crds: ## Checks the CRDs with the API server's own code; optional, takes minutes the first time.
	build/test-crds.sh

mutate: setup-build ## Mutation testing of the rules that decide; takes long. ONLY="Swapping/*.cs" narrows it down.
	@[ -x artifacts/tools/dotnet-stryker ] || dotnet tool install dotnet-stryker --version 5.1.0 --tool-path artifacts/tools
	cd tests/Superserve.Core.Tests && ../../artifacts/tools/dotnet-stryker $(if $(ONLY),-m "$(ONLY)")

image-archives: setup-images $(SIDECAR) ## Makes the images as artifacts/images/*.tar, for ctr, podman or docker to import; on Debian.
	rm -rf artifacts/publish/operator
	dotnet publish operator/Superserve.Operator -c Release -r $(RID) --self-contained -p:PublishReadyToRun=true -o artifacts/publish/operator --nologo -v quiet
	build/images.sh

check-images: setup-images ## Checks what image-archives made and runs it, without a container runtime; as root.
	tests/images/check.sh

format: ## Formats the code.
	dotnet format Superserve.K8s.sln

check-format: setup-build
	dotnet format whitespace Superserve.K8s.sln --verify-no-changes

clean: ## Removes what the other targets made.
	rm -rf artifacts tests/clients/node_modules $$(find core sidecar operator tests -type d \( -name bin -o -name obj \) -prune)

setup-build:
	@build/setup.sh build

setup-test:
	@build/setup.sh build test

setup-clients:
	@build/setup.sh clients

setup-bench:
	@build/setup.sh build test bench

setup-images:
	@build/setup.sh build images
