# SPDX-License-Identifier: Apache-2.0
# The few commands a person types. Everything else: `cargo xtask help`, `berth --help`.

.PHONY: help prepare demo demo-down check test bench dist

help:
	@echo "make demo       install what is missing, build, start Berth, run the walk-through (root, Debian 12)"
	@echo "make demo-down  stop the demo and remove all it made"
	@echo "make test       install what is missing, then run all tests (root)"
	@echo "make check      format, lints and tidy rules"
	@echo "make bench      measure this machine (root)"
	@echo "make dist       pack a release into target/dist/"

prepare:
	@scripts/prepare

demo: prepare
	@scripts/demo up

demo-down:
	@scripts/demo down

check:
	@scripts/with-tools cargo xtask check

test: prepare
	@scripts/with-tools cargo xtask test

bench: prepare
	@scripts/with-tools cargo xtask bench

dist:
	@scripts/with-tools cargo xtask dist
