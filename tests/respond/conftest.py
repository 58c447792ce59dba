"""Fixtures of the tests of response stores."""

import pytest


@pytest.fixture
def quiet(monkeypatch):
    """No commit but those that a test asks for."""
    from syndigits_jax.respond.store import responses as store

    monkeypatch.setattr(store, "_SECONDS_BETWEEN_COMMITS", (3600.0, 3600.0))
