# SPDX-License-Identifier: Apache-2.0
"""Ray's own provider of nodes on one machine, which notes when it is asked to launch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

from bench.scaling import stamps


class Noting(FakeMultiNodeProvider):
    """Settings: `stamps`, the file of moments."""

    def create_node_with_resources_and_labels(
        self, node_config: Any, tags: Any, count: int, resources: Any, labels: Any
    ) -> None:
        """See Ray's `NodeProvider`."""
        node_type = tags["ray-user-node-type"]
        stamps.note(Path(self.provider_config["stamps"]), node_type)
        if node_type.startswith(stamps.SLOT):
            raise RuntimeError("there is none, only the moment counts")
        create: Any = super().create_node_with_resources_and_labels
        create(node_config, tags, count, resources, labels)
