# SPDX-License-Identifier: Apache-2.0
"""No machines at all: a provider whose clock, capacity and misfortunes are data.

world.py      machines on a time line, the faults to come, the clock that a test turns
provider.py   the contract's calls on such a world
"""

from rayctl.providers.simulated.provider import SimulatedProvider
from rayctl.providers.simulated.storage import opened
from rayctl.providers.simulated.world import Fault, Harm, Machine, Physics, World

__all__ = ["Fault", "Harm", "Machine", "Physics", "SimulatedProvider", "World", "opened"]
