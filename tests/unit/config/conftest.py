# SPDX-License-Identifier: Apache-2.0
"""The cluster files that the tests of this package read."""

from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures" / "clusterfiles"


@pytest.fixture(params=sorted(path.name for path in FIXTURES.glob("*.yaml")))
def cluster_file(request):
    """Each fixture in turn."""
    return FIXTURES / request.param


@pytest.fixture
def fixtures():
    """Their folder."""
    return FIXTURES
