# SPDX-License-Identifier: Apache-2.0
"""Cluster files that load, and what is said of those that do not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rayctl.config.load import load, parse
from rayctl.config.provider import TYPES
from rayctl.errors import ConfigError, UsageError

RAY = Path(ray.__file__).parent / "autoscaler"
MINIMAL = "cluster_name: c\nprovider: {type: embedded}\n"


def problems_of(text):
    with pytest.raises(ConfigError) as caught:
        parse(text, "c.yaml")
    return caught.value.problems


def test_every_fixture_loads(cluster_file):
    assert load(cluster_file).config.head_type in load(cluster_file).config.available_node_types


@pytest.mark.parametrize("path", sorted(RAY.rglob("*.yaml")), ids=lambda path: path.parent.name)
def test_every_cluster_file_that_ray_ships_loads_without_a_word(path):
    text = path.read_text()
    if "provider" not in yaml.safe_load(text):  # Ray adds the block to its defaults for declared hosts
        text += "provider: {type: local, head_ip: 10.0.0.1, worker_ips: [10.0.0.2]}\n"
    assert parse(text, str(path)).warnings == ()


def schema_keys(form, path=()):
    for key, inner in form.get("properties", {}).items():
        yield (*path, key)
        yield from schema_keys(inner, (*path, key))
    for inner in form.get("patternProperties", {}).values():
        yield from schema_keys(inner, (*path, "*"))


def file_keys(data, path=()):
    for key, value in data.items():
        here = (*path, "*" if path == ("available_node_types",) else key)
        yield here
        if isinstance(value, dict):
            yield from file_keys(value, here)


def test_every_key_of_rays_schema_stands_in_a_fixture_that_loads(fixtures):
    wanted = set(schema_keys(json.loads((RAY / "ray-schema.json").read_text())))
    given_here = {key for path in fixtures.glob("*.yaml") for key in file_keys(yaml.safe_load(path.read_text()))}
    assert len(wanted) > 70
    assert wanted - given_here == {("provider", "head_ip"), ("provider", "worker_ips")} - given_here


@pytest.mark.parametrize("name", TYPES)
def test_every_provider_type_is_accepted(name):
    more = {"external": ", module: package.Class", "local": ", head_ip: 10.0.0.1"}.get(name, "")
    config = parse(f"cluster_name: c\nprovider: {{type: {name}{more}}}\n", "c.yaml").config
    assert config.provider.type == name
    assert config.provider.settings()["type"] == name


def test_provider_module_is_not_imported_and_its_keys_are_kept():
    text = "cluster_name: c\nprovider: {type: external, module: no.such.Thing, a: {b: [1]}}\n"
    assert parse(text, "c.yaml").config.provider.settings() == {"type": "external", "module": "no.such.Thing", "a": {"b": [1]}}


def test_coordinator_needs_no_hosts():
    text = "cluster_name: c\nprovider: {type: local, coordinator_address: '10.0.0.1:8000'}\nmax_workers: 4\n"
    assert parse(text, "c.yaml").config.max_workers == 4


@pytest.mark.parametrize("command", ["{{ lookup('pipe', 'id') }}", "docker ps --format '{{.Names}}'", "echo $HOME ~ $(id)"])
def test_commands_arrive_as_written(command):
    text = MINIMAL + "setup_commands:\n  - |-\n    " + command + "\n"
    assert parse(text, "c.yaml").config.setup_commands[0].command == command


def test_x_keys_are_kept_at_every_level_and_read_nowhere():
    text = "cluster_name: c\nx-a: {b: 010}\nprovider: {type: embedded, x-b: 1}\nauth: {x-c: 2}\n"
    config = parse(text + "setup_commands: [{command: a, x-d: 3}]\n", "c.yaml").config
    kept = [config.extensions, config.provider.extensions, config.auth.extensions, config.setup_commands[0].extensions]
    assert kept == [{"x-a": {"b": 8}}, {"x-b": 1}, {"x-c": 2}, {"x-d": 3}]
    assert config.provider.settings() == {"type": "embedded"}


def test_key_without_a_value_counts_as_not_given():
    config = parse(MINIMAL + "file_mounts:\nmax_workers:\nauth:\n", "c.yaml").config
    assert (config.file_mounts, config.max_workers, config.auth.ray_token) == ({}, 2, True)


@pytest.mark.parametrize("block", ['{image: "", container_name: ""}', "{}", "{container_name: ray_docker}"])
def test_docker_without_an_image_is_none(block):
    assert parse(MINIMAL + f"docker: {block}\n", "c.yaml").config.docker is None


def test_ray_version_is_a_text_that_is_checked_or_a_mapping_that_installs():
    short = parse(MINIMAL + 'ray_version: "2.60.0"\n', "c.yaml").config.ray_version
    long = parse(MINIMAL + "ray_version: {version: 2.60.0, install: true}\n", "c.yaml").config.ray_version
    assert (short.version, short.install) == ("2.60.0", False)
    assert (long.version, long.install) == ("2.60.0", True)


def test_models_are_frozen():
    config = parse(MINIMAL, "c.yaml").config
    with pytest.raises(ValueError, match="frozen"):
        config.cluster_name = "other"


NAME = "must be 1 to 63 letters, digits, `-` or `_` that start with a letter or digit, not"
TARGET = "mount to a folder or file of its own, for example `~/project` or `/opt/data`"


@pytest.mark.parametrize(
    ("line", "column", "message", "hint"),
    [
        ("max_worker: 2", 1, "unknown key `max_worker`", "did you mean `max_workers`?"),
        ("ssh_user: x", 1, "unknown key `ssh_user`", "`ssh_user` belongs below `auth:`"),
        ("auth: {max_workers: 1}", 8, "unknown key `auth.max_workers`", "`max_workers` belongs at the top of the file"),
        ("auth: {ssh_prt: 1}", 8, "unknown key `auth.ssh_prt`", "did you mean `ssh_port`?"),
        ("no: 1", 1, "unknown key `no`", "notes of your own go under keys that start with `x-`"),
        ("max_workers: two", 14, "`max_workers` must be a whole number, not the text 'two'", ""),
        ('max_workers: "2"', 14, "`max_workers` must be a whole number, not the text '2'", "write 2 without quotes"),
        ("max_workers: 2.5", 14, "`max_workers` must be a whole number, not the number 2.5", ""),
        ("max_workers: yes", 14, "`max_workers` must be a whole number, not true", ""),
        ("max_workers: -1", 14, "`max_workers` must be at least 0, not -1", ""),
        ("setup_commands: ls", 17, "`setup_commands` must be a list, not the text 'ls'",
         "write it as a list with one item, on a line of its own that starts with `- `"),
        ("setup_commands: [[ls]]", 18,
         "`setup_commands[0]` must be a command: text, or a mapping with `command:`, not a list", ""),
        ("setup_commands: [{comand: ls}]", 19, "unknown key `setup_commands[0].comand`", "did you mean `command`?"),
        ("setup_commands: ['']", 18, "`setup_commands[0]` is empty", "write a shell command, or remove the item"),
        ('setup_commands: ["a\\0b"]', 18, "`setup_commands[0]` holds a NUL character, which no shell can take", ""),
        ("setup_commands: [{command: a, env: {A: 1}}]", 40, "`setup_commands[0].env.A` must be text, not the number 1",
         'put it in quotes: "1"'),
        ("setup_commands: [{command: a, env: {a b: x}}]", 37,
         "`setup_commands[0].env.a b` must be the name of an environment variable: letters, digits and `_`, not 'a b'", ""),
        ("setup_commands: [{command: a, timeout_s: 0}]", 42, "`setup_commands[0].timeout_s` must be more than 0, not 0", ""),
        ("auth: yes", 7, "`auth` must be a mapping (`key: value` lines), not true", ""),
        ("auth: {become: maybe}", 16, "`auth.become` must be true or false, not the text 'maybe'", ""),
        ("auth: {ssh_port: 0}", 18, "`auth.ssh_port` must be at least 1, not 0", ""),
        ("auth: {ssh_port: 65536}", 18, "`auth.ssh_port` must be at most 65535, not 65536", ""),
        ("auth: {ssh_port: 022}", 18, "`auth.ssh_port` is `022`, which YAML reads as octal: 18",
         "write it as a plain decimal number, or put it in quotes to make it text"),
        ("auth: {ssh_user: -oProxyCommand=x}", 18,
         "`auth.ssh_user` must be a user name: letters, digits, `.`, `_`, `-`, no dash first, not '-oProxyCommand=x'", ""),
        ('auth: {ssh_user: "a\\nb"}', 18,
         "`auth.ssh_user` must be a user name: letters, digits, `.`, `_`, `-`, no dash first, not 'a\\nb'", ""),
        ("auth: {ssh_private_key: -x}", 25,
         "`auth.ssh_private_key` must not start with a dash: '-x' would be read as an option", ""),
        ('auth: {ssh_proxy_command: "a\\nb"}', 27,
         "`auth.ssh_proxy_command` must be one line without control characters, not 'a\\nb'", ""),
        ("auth: {ssh_proxy_use_node_id: true}", 31,
         "`auth.ssh_proxy_use_node_id` needs an `auth.ssh_proxy_command` to give the id to",
         "add the command, or remove this key"),
        ("file_mounts: {/: x}", 15, "`file_mounts./` cannot be a mount target: '/' would replace everything there", TARGET),
        ("file_mounts: {//: x}", 15, "`file_mounts.//` cannot be a mount target: '//' would replace everything there", TARGET),
        ("file_mounts: {~: x}", 15, "`file_mounts.~` cannot be a mount target: '~' would replace everything there", TARGET),
        ("file_mounts: {~/: x}", 15, "`file_mounts.~/` cannot be a mount target: '~/' would replace everything there", TARGET),
        ("file_mounts: {./: x}", 15, "`file_mounts../` cannot be a mount target: './' would replace everything there", TARGET),
        ("file_mounts: {a/../../b: x}", 15,
         "`file_mounts.a/../../b` cannot be a mount target: 'a/../../b' climbs out by `..`", TARGET),
        ("file_mounts: {~root/x: x}", 15, "`file_mounts.~root/x` cannot be a mount target: '~root/x' is another user's home",
         "use `~/...` or an absolute path"),
        ('file_mounts: {"": x}', 15, "`file_mounts.` is empty", "give it a value, or remove the key"),
        ("available_node_types: {a b: {}}", 24,
         "`available_node_types.a b` must be 1 to 63 letters, digits, `.`, `-` or `_` "
         "that start with a letter or digit, not 'a b'", ""),
        ("available_node_types: {head: {lables: {}}}", 31,
         "unknown key `available_node_types.head.lables`", "did you mean `labels`?"),
        ("available_node_types: {head: {resources: {CPU: -1}}}", 48,
         "`available_node_types.head.resources.CPU` must be at least 0, not -1", ""),
        ("available_node_types: {head: {docker: {image: x}}}", 40, "unknown key `available_node_types.head.docker.image`",
         "`image` belongs below `docker:`"),
        ("scaler: {autoscaling_mode: agressive}", 28,
         "`scaler.autoscaling_mode` must be `default` or `aggressive`, not the text 'agressive'", "did you mean `aggressive`?"),
        ("autoscaling_mode: agressive", 19,
         "`autoscaling_mode` must be `default` or `aggressive`, not the text 'agressive'", "did you mean `aggressive`?"),
        ("target_utilization_fraction: 1.5", 30, "`target_utilization_fraction` must be at most 1, not 1.5", ""),
        ("ray_version: 2.6", 14, '`ray_version` must be a version in quotes ("2.60.0"), or a mapping with `version:`, '
         "not the number 2.6", 'put it in quotes: "2.6"'),
        ("ray_version: latest", 14, "`ray_version` must be a version such as `2.60.0`, not 'latest'", ""),
        ("plugin: ray", 9, "`plugin` must be `rayctl.ray.rayctl`, not the text 'ray'", ""),
        ("head_node_type: hed", 17, "`head_node_type` names no node type: `hed`", "did you mean `head`?"),
        ("docker: {head_image: x}", 1, "`docker` names an image for some nodes only",
         "add `image:` for all nodes, or both `head_image:` and `worker_image:`"),
        ("docker: {image: -x}", 17, "`docker.image` must not start with a dash: '-x' would be read as an option", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_the_fix(line, column, message, hint):
    (problem,) = problems_of(f"{MINIMAL}{line}\n")
    assert (problem.message, problem.hint, problem.line) == (message, hint, 3)
    assert problem.column == column


@pytest.mark.parametrize("name", ["../../x", "a b", "-x", "x" * 300, "a\\0b", "ü", "a.b", "{{ x }}"])
def test_unsafe_cluster_names_are_refused_with_one_that_would_do(name):
    (problem,) = problems_of(f'cluster_name: "{name}"\nprovider: {{type: embedded}}\n')
    assert problem.message.startswith(f"`cluster_name` {NAME}")
    assert len(problem.message) < 160
    assert problem.hint.startswith("for example `")
    suggestion = problem.hint.split("`")[1]
    assert parse(f"cluster_name: {suggestion}\nprovider: {{type: embedded}}\n", "c.yaml").config.cluster_name == suggestion


@pytest.mark.parametrize("name", ["../../x", "a b", ""])
def test_unsafe_cluster_name_on_the_command_line_is_refused_in_its_own_words(name):
    with pytest.raises(UsageError, match="`--cluster-name` must be") as caught:
        parse(MINIMAL, "c.yaml", cluster_name=name)
    assert caught.value.exit_code == 2


def test_cluster_name_of_the_command_line_wins_and_mends_a_file_without_one():
    assert parse("provider: {type: embedded}\n", "c.yaml", cluster_name="other").config.cluster_name == "other"


@pytest.mark.parametrize(
    ("provider", "message", "part"),
    [
        ("", "`provider` is missing", "embedded, local"),
        ("provider:", "`provider` is missing", "embedded, local"),
        ("provider: aws", "`provider` must be a mapping (`key: value` lines), not the text 'aws'", ""),
        ("provider: {region: x}", "`provider.type` is missing", ""),
        ("provider: {type: 1}", "`provider.type` must be text, not the number 1", "quotes"),
        ("provider: {type: awss}", "unknown provider type `awss`", "did you mean `aws`?"),
        ("provider: {type: external}", "`provider.module` is missing", "Import path"),
        ("provider: {type: aws, regoin: x}", "unknown key `provider.regoin`", "did you mean `region`?"),
        ("provider: {type: aws, cloudwatch: {agnet: {}}}", "unknown key `provider.cloudwatch.agnet`", "did you mean `agent`?"),
        ("provider: {type: local}", "`provider` names no hosts", "`hosts:`"),
        ("provider: {type: local, head_ip: -x}", "`provider.head_ip` must be a host name or IP address, not '-x'", ""),
        ("provider: {type: local, head_ip: 1.5}", "`provider.head_ip` must be text, not the number 1.5", 'quotes: "1.5"'),
        ("provider: {type: local, worker_ips: [a]}", "`provider.head_ip` is missing: which host is the head?", "hosts:"),
    ],
)
def test_what_is_wrong_with_the_provider_is_said(provider, message, part):
    (problem,) = problems_of(f"cluster_name: c\n{provider}\n")
    assert problem.message == message
    assert part in problem.hint


def test_everything_is_said_at_once_sorted_by_line():
    text = "max_worker: 1\ncluster_name: a b\nprovider: {type: aws, x-regoin: x}\nhead_node_type: hed\nauth:\n"
    text += "  ssh_port: x\n  ssh_proxy_use_node_id: true\ndocker: {head_image: x}\nsetup_commands: [1, {comand: x}]\n"
    found = problems_of(text)
    assert [problem.line for problem in found] == [1, 2, 4, 6, 7, 8, 9, 9]


def test_consequences_of_a_wrong_value_are_not_reported_beside_it():
    (problem,) = problems_of(MINIMAL + "available_node_types: {boss: [], worker: {}}\nhead_node_type: boss\n")
    assert problem.path == "available_node_types.boss"


def test_problem_of_an_old_key_points_to_the_old_key():
    (problem,) = problems_of(MINIMAL + "\ninitial_workers: many\n")
    assert (problem.path, problem.line, problem.column) == ("initial_workers", 4, 18)


def test_unknown_keys_inside_node_config_are_the_providers_business():
    text = MINIMAL + "available_node_types: {head: {node_config: {Mode: 0644, at: 12:30, x: {y: z}}}}\n"
    assert parse(text, "c.yaml").config.available_node_types["head"].node_config["Mode"] == 0o644


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("missing.yaml", None, "No such file"),
        ("latin.yaml", b"a: \xff\n", "no UTF-8 text"),
        ("big.yaml", b"#" * (4 << 20) + b"\n", "larger than 4 MiB"),
    ],
)
def test_files_that_cannot_be_read_are_a_config_error(tmp_path, name, content, part):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=part) as caught:
        load(tmp_path / name)
    assert caught.value.hint


def test_a_folder_is_no_cluster_file(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


def test_byte_order_mark_is_taken_off(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(tmp_path / "c.yaml").config.cluster_name == "c"


KEYS = ["cluster_name", "provider", "type", "auth", "docker", "available_node_types", "head", "head_node_type", "min_workers"]
KEYS += ["max_workers", "setup_commands", "command", "env", "ray_version", "install", "version", "scaler", "hosts", "address"]
KEYS += [
    "head_node",
    "worker_nodes",
    "initial_workers",
    "file_mounts",
    "x-a",
    "~",
    "labels",
    "docker",
    "worker_image",
    "nonsense",
]
LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", "head", "local", "embedded", "aws", "-x", "a b"])
)
DATA = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6), max_leaves=25
)


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), DATA, min_size=1))
def test_any_mapping_is_a_configuration_or_a_list_of_problems_with_lines(data):
    try:
        config = parse(yaml.safe_dump(data), "c.yaml").config
    except ConfigError as error:
        assert all(problem.message and "\n" not in problem.message for problem in error.problems)
        assert all(problem.line for problem in error.problems)
    else:
        assert config.head_type in config.available_node_types
        assert sum(map(config.min_workers_of, config.worker_types)) <= config.max_workers


def test_loading_a_file_of_declared_hosts_imports_only_what_it_needs(fixtures):
    program = f"""
import sys
from rayctl.config.load import load
load({str(fixtures / "full-local.yaml")!r})
print(sorted({{"rayctl.config.clouds", "rayctl.config.schema", "difflib", "ansible", "ray"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
