"""One report, written once for all tests."""

import pytest
from fake_reports import fake_report

from syndigits_jax.report import write_report


@pytest.fixture(scope="session")
def report():
    return fake_report(25)


@pytest.fixture(scope="session")
def folder(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports") / "made" / "here"
    write_report(report, folder)
    return folder
