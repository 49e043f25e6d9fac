# SPDX-License-Identifier: Apache-2.0
"""Why something is done about the scaler on a head, in words that follow "because"."""

from __future__ import annotations

INSTALL = "it is not there yet"
RENEW = "rayctl changed, or what it needs"
UPDATE = "what it works from changed"
START = "it does not run"
