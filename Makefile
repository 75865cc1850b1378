# `make run` and `make test` are all that a newcomer needs; both install what is missing.
.PHONY: run test demo-test client-test check docs screenshots lock soak mutants bench audit remove

run:
	@sh service/pgtally/dev/bootstrap.sh run
	@.venv/bin/pgtally run

test:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m pytest -n 2 --dist worksteal -q

# `make run` as a newcomer would, and every example of the README against it.
demo-test:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m pytest -q -m demo tests/demo

# The client that TypeScript's generator makes of the OpenAPI document. Needs node 20 and npm.
client-test:
	@sh service/pgtally/dev/bootstrap.sh test
	@cd tests/clients/typescript && npm ci --silent
	@.venv/bin/python -m pytest -q -m typescript tests/clients

check:
	@sh service/pgtally/dev/bootstrap.sh test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@# 0001 makes everything in an empty database: squawk looks at what changes a living one.
	@if ls migrations/0002* >/dev/null 2>&1; then .venv/bin/squawk migrations/*.sql; \
	else echo 'squawk: no migration after 0001'; fi
	.venv/bin/hadolint docker/*.Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

# Writes docs/reference-*.md from the code; a test finds stale ones.
docs:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m docs.reference

# Writes docs/page*.png, from what `make run` runs beside it.
screenshots:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m docs.screenshots

# Load with faults, Schemathesis, attacks beside a tenant: half an hour. The table of times at the end of
# the attacks says something where nothing else runs.
soak:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m pytest -q -s -m soak tests/soak

# Deliberate errors, one at a time in a copy of the tree, each of which the tests named with it have
# to catch: ten minutes. `make mutants only="fold rotating"` tries those whose names hold a word.
mutants:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m tests.mutants $(only)

# Ingest against COPY, flat reads, the same in use and after a restart, jobs, footprint: ten minutes;
# writes bench/RESULTS.md. Beside DuckDB, if the extra `bench` is installed.
bench:
	@sh service/pgtally/dev/bootstrap.sh test
	@.venv/bin/python -m bench --output bench

# Known vulnerabilities of the pinned packages. Needs the internet, so it is not part of `make check`.
audit:
	uvx pip-audit --disable-pip -r requirements.lock

remove:
	@.venv/bin/pgtally remove

# Pins every package with its hashes. Needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" pyproject.toml build-requirements.in -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" --extra dev -c requirements.lock \
	  pyproject.toml build-requirements.in -o requirements-dev.lock
