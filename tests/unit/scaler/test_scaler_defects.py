# SPDX-License-Identifier: Apache-2.0
"""What is known to go wrong with Ray's own autoscaler does not go wrong here."""

from __future__ import annotations

from pathlib import Path

from rayctl.providers.simulated import Physics
from tests.unit.scaler.town import Town, file_of

TWO_TYPES = """
cluster_name: town
provider: {type: simulated}
max_workers: 20
idle_timeout_minutes: 1
head_node_type: head
available_node_types:
  head: {resources: {CPU: 1}}
  small: {resources: {CPU: 4}, min_workers: 1}
  old: {resources: {CPU: 4}, min_workers: 3}
"""


def with_image(image: str) -> str:
    return file_of(min_workers=10, max_workers=12).replace("{CPU: 4}", f"{{CPU: 4}}, node_config: {{image: {image}}}")


def test_d14_outdated_workers_are_replaced_a_few_at_a_time_and_there_are_never_too_few(tmp_path: Path) -> None:
    town = Town(tmp_path, text=with_image("first"))
    life = town.scaler()
    life.until(lambda: len(town.joined()) == 10)
    before = {machine.name for machine in town.alive()}
    town.text = with_image("second")
    fewest = 10
    for _ in range(600):
        life.turn()
        fewest = min(fewest, len(town.joined()))
        if not before & {machine.name for machine in town.alive()} and len(town.joined()) == 10:
            break
    assert not before & {machine.name for machine in town.alive()}
    assert fewest >= 9
    assert town.most <= 12


def test_d14_a_type_that_left_the_file_is_drained_and_nothing_stands_still(tmp_path: Path) -> None:
    town = Town(tmp_path, text=TWO_TYPES)
    life = town.scaler()
    life.until(lambda: len(town.joined()) == 4)
    town.text = "\n".join(line for line in TWO_TYPES.splitlines() if "old:" not in line)
    life.until(lambda: {machine.type for machine in town.alive()} == {"small"})
    town.submit({"CPU": 4}, 2)
    life.until(lambda: len(town.joined()) == 2)


def test_d15_all_of_a_minimum_is_asked_for_at_once(tmp_path: Path) -> None:
    town = Town(tmp_path, Physics(boot_s=(60.0, 60.0)), text=file_of(min_workers=200, max_workers=200))
    life = town.scaler()
    assert life.until(lambda: len(town.workers()) == 200) < 2
    assert life.until(lambda: len(town.joined()) == 200) < 75


def test_d22_a_changed_file_is_heeded_and_a_killed_scaler_goes_on_where_it_was(tmp_path: Path) -> None:
    town = Town(tmp_path)
    life = town.scaler().run(2)
    town.text = file_of(min_workers=2)
    assert life.until(lambda: len(town.workers()) == 2) < 2
    life = town.scaler()  # another process; the first one is no more
    life.until(lambda: len(town.joined()) == 2)
    assert town.most == 2
