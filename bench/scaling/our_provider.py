# SPDX-License-Identifier: Apache-2.0
"""The embedded provider, which notes when it is asked to launch."""

from __future__ import annotations

from pathlib import Path

from bench.scaling import stamps
from rayctl.errors import Category, ProviderError
from rayctl.providers.base import DEADLINE_S, LaunchRequest, LaunchResult
from rayctl.providers.embedded import EmbeddedProvider


class Noting(EmbeddedProvider):
    """Settings: `stamps`, the file of moments."""

    def launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:
        """See `Provider`."""
        stamps.note(Path(self.settings["stamps"]), request.type)
        if request.type.startswith(stamps.SLOT):
            raise ProviderError(Category.CAPACITY, "there is none, only the moment counts")
        return super().launch(request, deadline_s=deadline_s)
