"""Schemathesis with all its phases and checks, for long: as a tenant whose key has every scope, and as
the installation's admin. No answer of 500, and none that the OpenAPI document does not promise.

    PGTALLY_SOAK_CONTRACT_SECONDS=600 .venv/bin/python -m pytest -s -m soak tests/soak/test_contract_soak.py
"""

import os
import re
import subprocess

import httpx
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.soak
SECONDS = int(os.environ.get("PGTALLY_SOAK_CONTRACT_SECONDS", "600"))


@pytest.mark.parametrize("caller", ["tenant", "installation"])
def test_every_answer_is_as_documented_for_long(service, caller, tmp_path):
    client = service.tenant()
    key = client.headers["X-API-Key"] if caller == "tenant" else service.installation_key
    mine = [one["id"] for one in client.get("/keys").json() if key.startswith(one["prefix"])]
    done = subprocess.run(
        [
            ROOT / ".venv/bin/st", "--config-file", ROOT / "tests/soak/schemathesis.toml", "run",
            f"{service.url}/schema/openapi.json", "--header", f"X-API-Key: {key}",
            "--max-time", str(SECONDS // 2), "--generation-database", "none", "--no-color",
        ],
        cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PGTALLY_SOAK_OWN_KEY_ID": "".join(mine)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    # The key has lived, so what was asked was not all answered by 401.
    own = "/keys" if caller == "tenant" else "/tenants"
    answer = httpx.get(service.url + own, headers={"X-API-Key": key})
    assert answer.status_code == 200
    told = re.search(r"Test cases:\n\s*(.*)", done.stdout)
    print(f"\nas {caller}, {SECONDS // 2} s: {told and told[1]}")
