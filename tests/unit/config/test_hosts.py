# SPDX-License-Identifier: Apache-2.0
"""Declared hosts: who is the head, of what type each is, and how many workers that makes."""

import pytest

from rayctl.config.load import load, parse
from rayctl.errors import ConfigError

BASE = "cluster_name: c\nprovider:\n  type: local\n"


def loaded(provider, more="", **overrides):
    return parse(f"{BASE}  {provider}\n{more}", "c.yaml", **overrides)


def problems_of(provider, more=""):
    with pytest.raises(ConfigError) as caught:
        loaded(provider, more)
    return [(problem.message, problem.line) for problem in caught.value.problems]


IPS = "head_ip: h\n  worker_ips: [a, b, c]"


def facts(config):
    return [(host.inventory_name, host.type, host.head) for host in config.provider.hosts]


def test_head_and_worker_addresses_become_hosts_and_all_are_wanted():
    config = loaded(IPS).config
    assert facts(config) == [("h", "head", True), ("a", "worker", False), ("b", "worker", False), ("c", "worker", False)]
    assert (config.max_workers, config.min_workers_of("worker")) == (3, 3)


def test_first_host_is_the_head_unless_another_says_so():
    assert facts(loaded("hosts: [a, b]").config) == [("a", "head", True), ("b", "worker", False)]
    assert facts(loaded("hosts: [a, {address: b, head: true}]").config) == [("a", "worker", False), ("b", "head", True)]


def test_settings_of_each_host_are_kept(fixtures):
    boss, gpu, cpu = load(fixtures / "full-local.yaml").config.provider.hosts
    assert (boss.name, boss.type, gpu.type, cpu.type) == ("boss", "head", "gpu", "cpu")
    assert (gpu.user, gpu.port, gpu.key, gpu.python) == ("gpu", 2222, "~/.ssh/gpu", "/usr/bin/python3.11")
    assert (gpu.resources, gpu.labels) == ({"GPU": 0.5, "custom": 1.0}, {"rack": "a1"})


def test_types_that_hosts_name_exist_without_being_declared():
    config = loaded("hosts: [{address: h, type: boss}, {address: a, type: gpu}, {address: b, type: gpu}]").config
    assert (config.head_type, config.worker_types) == ("boss", ("gpu",))
    assert config.min_workers_of("gpu") == 2


def test_worker_of_the_heads_type_gets_its_twin():
    more = "available_node_types: {big: {resources: {CPU: 4}}}\n"
    config = loaded("hosts: [h, {address: a, type: big}, b]", more).config
    assert facts(config) == [("h", "big", True), ("a", "big-worker", False), ("b", "worker", False)]
    assert config.available_node_types["big-worker"].resources == {"CPU": 4.0}
    assert config.worker_types == ("big-worker", "worker")


def test_minimum_of_the_file_wins_over_all_hosts():
    assert loaded(IPS, "min_workers: 1\n").config.min_workers_of("worker") == 1
    assert loaded(IPS, "available_node_types: {head: {}, w: {min_workers: 0}}\n").config.min_workers_of("w") == 0


def test_maximum_of_the_file_limits_how_many_hosts_are_wanted():
    config = loaded(IPS, "max_workers: 2\n").config
    assert (config.max_workers, config.min_workers_of("worker")) == (2, 2)


def test_max_workers_of_the_command_line_takes_the_first_hosts_only():
    config = loaded(IPS, max_workers=1).config
    assert (config.max_workers, config.min_workers_of("worker")) == (1, 1)
    assert len(config.provider.hosts) == 4


def test_asking_for_more_workers_than_hosts_gets_all_and_a_warning():
    result = loaded(IPS, "min_workers: 5\nmax_workers: 9\n")
    assert (result.config.max_workers, result.config.min_workers_of("worker")) == (3, 3)
    assert [(warning.message, warning.line) for warning in result.warnings] == [
        ("`min_workers` asks for 5 workers, but there are 3 such hosts", 6)
    ]


@pytest.mark.parametrize(
    ("provider", "more", "message", "line"),
    [
        ("head_ip: a\n  worker_ips: [b, a]", "", "host `a` is given twice", 5),
        ("hosts: [a, b, a]", "", "host `a` is given twice", 4),
        ("hosts: [{address: a, name: x}, {address: b, name: x}]", "", "host `x` is given twice", 4),
        ("hosts: [{address: a, head: true}, {address: b, head: true}]", "", "`b` is a second head; `a` is the first", 4),
        ("hosts: [a]\n  head_ip: b", "", "`hosts` and `head_ip` both say which hosts there are", 5),
        (
            "hosts: [a, {address: b, type: gp}]",
            "available_node_types: {head: {}, gpu: {}}\n",
            "host `b` names no node type: `gp`",
            4,
        ),
        (
            "hosts: [{address: a, type: gpu}]",
            "available_node_types: {head: {}, gpu: {}}\nhead_node_type: head\n",
            "host `a` is the head, but not of the head's type `head`",
            4,
        ),
        (
            "hosts: [a, b]",
            "available_node_types: {head: {}, x: {}, y: {}}\n",
            "of which type is host `b`? Workers have several",
            4,
        ),
        (
            "hosts: [a, 5]",
            "",
            "`provider.hosts[1]` must be a host: an address, or a mapping with `address:`, not the number 5",
            4,
        ),
        ("hosts: [{adress: a}]", "", "unknown key `provider.hosts[0].adress`", 4),
        ("hosts: [{address: a, port: ssh}]", "", "`provider.hosts[0].port` must be a whole number, not the text 'ssh'", 4),
    ],
)
def test_hosts_that_make_no_sense_are_refused(provider, more, message, line):
    assert (message, line) in problems_of(provider, more)
