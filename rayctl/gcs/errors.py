# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between rayctl and a running Ray head.

GcsError                   1   anything below
├── GcsUnavailable         4   nothing answered in time
├── GcsUnauthenticated     1   the head wants another token
└── GcsUnexpected          1   something answered, but not as a Ray head does
"""

from __future__ import annotations

from rayctl.errors import RayctlError, Unreachable


class GcsError(RayctlError):
    """A Ray head could not be asked; `address` is its "host:port"."""

    advice = ""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"Ray head at {address}: {reason}", hint=self.advice)
        self.address = address


class GcsUnavailable(GcsError, Unreachable):
    """Seen when nothing listens at the address, or it did not answer in time. Asking again later may help."""

    advice = "Check that Ray runs on the head, and that its port (`ray start --port`) can be reached from here."


class GcsUnauthenticated(GcsError):
    """Seen when the head asks for a token and got none, or another cluster's."""

    advice = "Use the token that the head was started with: its RAY_AUTH_TOKEN, or the file its RAY_AUTH_TOKEN_PATH names."


class GcsUnexpected(GcsError):
    """Seen when the address belongs to something else than a Ray head, or the head failed while answering."""

    advice = (
        "Check that the port is the one of `ray start --port`, not the dashboard's or Ray Client's. "
        "If it is, gcs_server.out among the head's logs says more."
    )
