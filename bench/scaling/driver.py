# SPDX-License-Identifier: Apache-2.0
"""A program of Ray's that asks for things when it is told to: `python driver.py ADDRESS`, a line of JSON in, one out.

    {"ask": "task", "for": NAME}      a task that needs one NAME, and takes half a second
    {"ask": "request", "for": NAME}   request_resources() of one NAME; of nothing where NAME is ""
    {"ask": "group", "for": NAME}     a placement group of one bundle with one NAME
    {"ask": "drop"}                   forget the task, or the group, that was asked for last
    {"ask": "end"}                    wait for the end of the task that was asked for last

The answer is when it began to ask, or when that task ended. It runs where Ray is, and knows nothing of rayctl.
"""

import json
import sys
import time
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.placement_group import placement_group, remove_placement_group


@ray.remote(num_cpus=0, max_retries=0)
def work() -> float:
    time.sleep(0.5)
    return time.time()


def main() -> None:
    ray.init(address=sys.argv[1], log_to_driver=False)
    last: Any = None
    print("ready", flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        at = time.time()
        if wanted["ask"] == "task":
            last = work.options(resources={wanted["for"]: 1}).remote()
        elif wanted["ask"] == "request":
            request_resources(bundles=[{wanted["for"]: 1}] if wanted["for"] else [])
        elif wanted["ask"] == "group":
            last = placement_group([{wanted["for"]: 1}])
        elif wanted["ask"] == "end":
            at = ray.get(last)
        else:
            (ray.cancel if isinstance(last, ray.ObjectRef) else remove_placement_group)(last)
        print(json.dumps({"at": at}), flush=True)


if __name__ == "__main__":
    main()
