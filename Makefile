# The two commands that matter: `make serve` and `make test`. Both set up .venv first.
PORT ?= 8000

.PHONY: setup serve test
setup:
	@scripts/setup

serve: setup
	@exec .venv/bin/weft serve --port $(PORT) --lines configs/lines/demo.yaml

test: setup
	@scripts/check $(CHECK)
