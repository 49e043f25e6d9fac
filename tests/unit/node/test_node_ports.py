# SPDX-License-Identifier: Apache-2.0
"""Which ports our own start commands get on a machine that others use too."""

from __future__ import annotations

import socket

from rayctl.node import ports


def test_preferred_ports_are_taken_as_they_are() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    assert ports.choose({"port": number}) == {"port": number}


def test_a_port_that_somebody_listens_on_is_left_to_him() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        number = busy.getsockname()[1]
        chosen = ports.choose({"port": number, "other": number})
    assert chosen["port"] in ports.SPARE
    assert chosen["other"] in ports.SPARE
    assert len(set(chosen.values())) == 2


def test_ports_become_flags_in_words_without_blanks() -> None:
    assert ports.flags({"port": 1, "metrics-export-port": 2}) == "--port=1 --metrics-export-port=2"
    assert ports.flags({}) == ""
