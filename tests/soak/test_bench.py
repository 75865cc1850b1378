"""`pgtally bench` runs to its end and writes what it found. What it finds is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.soak


def test_the_quick_bench_writes_its_results_and_leaves_no_database(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--size", "quick", "--json", "--output", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = Path(json.loads(done.stdout)["results"])
    text = results.read_text()
    for section in ("Bulk ingest", "Single events", "Filters", "Flat reads", "Jobs", "Footprint"):
        assert f"## {section}" in text
    assert (tmp_path / "reads.svg").read_text().startswith("<?xml")
