# SPDX-License-Identifier: Apache-2.0
"""Which steps run on which node."""

from rayctl.config.load import parse
from rayctl.config.steps import chained, steps_of

FILE = """
cluster_name: c
provider: {type: embedded}
initialization_commands: [init]
setup_commands: [all, {command: "long\\nmore", name: pretty, timeout_s: 5, env: {A: "1"}}]
head_setup_commands: [only head]
worker_setup_commands: [only workers]
available_node_types:
  head: {}
  plain: {}
  rays: {worker_setup_commands: [of its own], initialization_commands: []}
  ours: {setup_commands: [instead], worker_setup_commands: [never]}
"""


def commands(kind, node_type, text=FILE):
    return [(step.phase, step.command) for step in steps_of(parse(text, "c.yaml").config, kind, node_type)]


COMMON = [("initialization", "init"), ("setup", "all"), ("setup", "long\nmore")]


def test_head_and_workers_share_setup_and_add_their_own():
    assert commands("head", "head") == [*COMMON, ("setup", "only head")]
    assert commands("worker", "plain") == [*COMMON, ("setup", "only workers")]


def test_a_types_worker_setup_replaces_the_merged_list():
    assert commands("worker", "rays") == [("setup", "of its own")]


def test_a_types_setup_replaces_everything_else():
    assert commands("worker", "ours") == [("initialization", "init"), ("setup", "instead")]


def test_the_heads_type_can_have_setup_of_its_own_but_no_worker_setup():
    text = FILE.replace("head: {}", "head: {worker_setup_commands: [not here]}")
    assert commands("head", "head", text) == commands("head", "head")
    assert commands("head", "head", FILE.replace("head: {}", "head: {setup_commands: []}")) == [("initialization", "init")]


def test_mapping_form_carries_name_time_out_and_environment():
    step = steps_of(parse(FILE, "c.yaml").config, "head", "head")[2]
    assert (step.name, step.timeout_s, step.env) == ("pretty", 5, {"A": "1"})


def test_unnamed_step_is_called_by_its_first_line_cut_to_sixty():
    text = FILE.replace("[all,", f'["{"x" * 70}\\nsecond",')
    name = steps_of(parse(text, "c.yaml").config, "head", "head")[1].name
    assert name == "x" * 57 + "..."
    assert len(name) == 60


def digests(text):
    return chained("v1:mounts", steps_of(parse(text, "c.yaml").config, "head", "head"))


def test_name_and_time_out_do_not_count_as_a_change():
    assert digests(FILE) == digests(FILE.replace("name: pretty", "name: other").replace("timeout_s: 5", "timeout_s: 6"))


def test_edited_command_reruns_from_there():
    old, new = digests(FILE), digests(FILE.replace('A: "1"', 'A: "2"'))
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, True, False, False]


def test_same_steps_in_another_file_have_the_same_digests():
    moved = FILE.replace("initialization_commands: [init]", "").replace("[all,", "[init, all,")
    assert digests(moved) == digests(FILE)


def test_becoming_root_counts_as_a_change_of_every_step():
    as_root = digests(FILE + "auth: {become: true}\n")
    assert not set(as_root) & set(digests(FILE))
    assert len(set(as_root)) == 4


def test_only_who_becomes_root_says_so():
    found = [steps_of(parse(text, "c.yaml").config, "head", "head") for text in (FILE, FILE + "auth: {become: true}\n")]
    assert [{step.become for step in steps} for steps in found] == [{False}, {True}]
