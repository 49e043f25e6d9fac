# SPDX-License-Identifier: Apache-2.0
"""A scaler in rough weather, for as long as RAYCTL_SOAK_S says; RAYCTL_SOAK_SEED tells where to begin."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.scaler.soak import Episode, Tally

BUDGET_S = float(os.environ.get("RAYCTL_SOAK_S", "180"))
SEED = int(os.environ.get("RAYCTL_SOAK_SEED", "1"))


@pytest.mark.slow
@pytest.mark.timeout(BUDGET_S + 300)
def test_whatever_happens_limits_hold_work_is_not_ended_and_all_is_well_in_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    began, tally, seed = time.monotonic(), Tally(), SEED
    while not tally.episodes or time.monotonic() - began < BUDGET_S:
        with TemporaryDirectory() as folder:
            try:
                Episode(Path(folder), seed, tally).live()
            except BaseException:
                sys.stdout.write(f"replay it: RAYCTL_SOAK_S=0 RAYCTL_SOAK_SEED={seed} pytest {__file__}\n")
                raise
        seed += 1
    with capsys.disabled():
        sys.stdout.write(f"\nsoak from seed {SEED}: {tally}\n")
