# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: T201
"""A job for the demo: twelve small tasks, and which nodes did them. Fails when one node did them all."""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter

import ray

TASKS = 12


@ray.remote(num_cpus=1, scheduling_strategy="SPREAD")
def where() -> str:
    """Work for a moment; the address of the node that did."""
    time.sleep(0.3)
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def main() -> int:
    """Run the tasks and print a line per node."""
    # no address is given: rayctl sets RAY_ADDRESS for what it runs
    ray.init(log_to_driver=False, logging_level=logging.WARNING)
    done = Counter(ray.get([where.remote() for _ in range(TASKS)]))
    for address, count in sorted(done.items()):
        print(f"{address} did {count} of {TASKS} tasks")
    if len(done) < 2:
        print("all tasks ran on one node", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
