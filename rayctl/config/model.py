# SPDX-License-Identifier: Apache-2.0
"""What a cluster file says, as frozen models; each field's description is its reference documentation.

`load` makes a `ClusterConfig` from a file: old spellings translated (`legacy`), defaults that depend on other keys filled in
(`settle`). Everything else in rayctl reads the result and never the YAML. Unknown keys are errors, except that a user may
keep notes and anchors of their own under keys that start with `x-`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

from rayctl.config.words import (
    Amount,
    ClusterName,
    Count,
    EnvName,
    Flag,
    Int,
    Jumps,
    Line,
    LocalPath,
    MountTarget,
    Port,
    Seconds,
    Shell,
    Text,
    TypeName,
    Unfit,
    User,
    Version,
    Word,
    seen,
)

KindName = Literal["head", "worker"]
EXTENSIONS = "x-*"


class Block(BaseModel):
    """A mapping of the cluster file. A key without a value counts as not given; keys that start with `x-` are the user's."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    short_form: ClassVar[str] = ""  # the field that a bare text stands for, where that is allowed
    what: ClassVar[str] = ""  # and what both forms together are called
    nothing: ClassVar[tuple[str | None, ...]] = (None,)  # values that count as not given

    extensions: Mapping[str, Any] = Field(
        default_factory=dict, alias="x-*", description="Keys that start with `x-`: kept for you, never read."
    )

    @model_validator(mode="before")
    @classmethod
    def _tidied(cls, data: Any) -> Any:
        if isinstance(data, str) and cls.short_form:
            return {cls.short_form: data}
        if not isinstance(data, Mapping):
            if cls.short_form and not isinstance(data, cls):
                raise Unfit(f"must be {cls.what}, not {seen(data)}")
            return data
        own = {key: value for key, value in data.items() if value not in cls.nothing and not key.startswith("x-")}
        users = {key: value for key, value in data.items() if key.startswith("x-")}
        return {**own, EXTENSIONS: users} if users else own


class Command(Block):
    """A shell command: a text, or a mapping that adds a name, a time-out or variables to it."""

    short_form = "command"
    what = "a command: text, or a mapping with `command:`"

    command: Shell = Field(description="Run by a login shell of its own (`bash --login -i`), byte for byte as written.")
    name: Line | None = Field(
        default=None, description="What people see while it runs; default: the beginning of its first line."
    )
    timeout_s: Seconds | None = Field(
        default=None, description="Seconds after which it is stopped and counts as failed; default: never."
    )
    env: Mapping[EnvName, Text] = Field(default_factory=dict, description="Environment variables for this command alone.")


Commands = tuple[Command, ...]


class RayVersion(Block):
    """The Ray version that every node must have: a text that is checked, or a mapping that can also install it."""

    short_form = "version"
    what = 'a version in quotes ("2.60.0"), or a mapping with `version:`'

    version: Version = Field(description="Compared with what `ray --version` says on each node, before Ray is started there.")
    install: Flag = Field(default=False, description="Install this version by pip where another one, or none, is found.")


class Auth(Block):
    """How rayctl logs in to the nodes."""

    ssh_user: User | None = Field(
        default=None,
        description="The login user. Default: `ubuntu` on cloud machines, your own ssh configuration's on declared hosts.",
    )
    ssh_private_key: LocalPath | None = Field(
        default=None,
        description="Local path of the private key; it is never copied to a node. Default: your agent and ssh configuration.",
    )
    ssh_public_key: LocalPath | None = Field(
        default=None, description="Local path of the public key, for providers that ask for it."
    )
    ssh_proxy_command: Line | None = Field(
        default=None,
        description="ssh's ProxyCommand, for example `nc -x proxy.example.com:1234 %h %p`; `%h` and `%p` are host and port.",
    )
    ssh_proxy_jump: Jumps | None = Field(
        default=None,
        description="ssh's ProxyJump: the bastion, `[user@]host[:port]`, several split by commas. Its host key is checked too.",
    )
    ssh_proxy_use_node_id: Flag = Field(
        default=False,
        description="Give the provider's node id to the proxy command as `%h`, for proxies that know machines by id.",
    )
    ssh_port: Port | None = Field(
        default=None, description="The ssh port of all nodes. Default: your ssh configuration's, else 22."
    )
    known_hosts: LocalPath | None = Field(
        default=None,
        description="Local known_hosts file with the nodes' host keys; others are refused. Default: your own, and one for the "
        "cluster in which rayctl pins the keys of hosts that are not in yours.",
    )
    become: Flag = Field(
        default=False,
        description="Run initialization and set-up commands as root through `sudo`; Ray itself always runs as the login user. "
        "Where `sudo` asks for a password, give it by `--ask-become-pass`.",
    )
    ray_token: Flag = Field(
        default=True, description="Start Ray with its token authentication, with a token made for this cluster."
    )


class Docker(Block):
    """The container in which set-up and start commands run. Without any image there is no container."""

    nothing = (None, "")  # Ray's older examples say `image: ""` for no container

    image: Word | None = Field(default=None, description="The image for all nodes, for example `rayproject/ray:latest`.")
    container_name: Word = Field(default="ray_docker", description="The container's name on each node.")
    pull_before_run: Flag = Field(default=True, description="Pull the image even where the node has one of that name.")
    run_options: tuple[Line, ...] = Field(default=(), description="Options for `docker run` on all nodes.")
    head_image: Word | None = Field(default=None, description="The head's image, instead of `image`.")
    head_run_options: tuple[Line, ...] = Field(
        default=(), description="Options for `docker run` on the head, after `run_options`."
    )
    worker_image: Word | None = Field(default=None, description="The workers' image, instead of `image`.")
    worker_run_options: tuple[Line, ...] = Field(
        default=(), description="Options for `docker run` on workers, after `run_options`."
    )
    disable_automatic_runtime_detection: Flag = Field(
        default=False, description="Do not use the NVIDIA runtime by itself where a node has one."
    )
    disable_shm_size_detection: Flag = Field(
        default=False, description="Do not size the container's `/dev/shm` by the node's memory."
    )
    use_podman: Flag = Field(default=False, description="Call `podman` instead of `docker`.")


class TypeDocker(Block):
    """What one node type has otherwise than the cluster's `docker:`."""

    pull_before_run: Flag | None = Field(default=None, description="Instead of the cluster's `docker.pull_before_run`.")
    worker_image: Word | None = Field(default=None, description="The image for nodes of this type.")
    worker_run_options: tuple[Line, ...] | None = Field(
        default=None, description="Options for `docker run` for this type, instead of the cluster's `worker_run_options`."
    )


class NodeType(Block):
    """One kind of machine: how it is asked for, what Ray may count on there, and how many there may be."""

    node_config: Mapping[str, Any] = Field(
        default_factory=dict, description="The provider's own description of the machine, handed on as it is."
    )
    min_workers: Count = Field(
        default=0, description="So many workers of this type at least; on declared hosts the default is all."
    )
    max_workers: Count | None = Field(
        default=None,
        description="So many workers of this type at most. Default: the cluster's `max_workers`; for the head's type 0.",
    )
    resources: Mapping[Word, Amount] = Field(
        default_factory=dict, description="What Ray may hand out on such a node. Default: what Ray or the provider detects."
    )
    labels: Mapping[Word, Line] = Field(default_factory=dict, description="Ray labels of such nodes, for label selectors.")
    idle_timeout_s: Amount | None = Field(
        default=None,
        description="Seconds of idleness after which a node is removed. Default: the cluster's `idle_timeout_minutes`.",
    )
    priority: Int = Field(default=0, description="Of two types that would serve, the one with the higher number is launched.")
    price: Amount | None = Field(
        default=None, description="Price of one node per hour, where the provider does not know it or you do."
    )
    docker: TypeDocker | None = Field(default=None, description="What this type has otherwise than the cluster's `docker:`.")
    initialization_commands: Commands | None = Field(
        default=None, description="Replaces the cluster's `initialization_commands` on this type."
    )
    setup_commands: Commands | None = Field(
        default=None, description="Replaces all of the cluster's set-up commands on this type, the head's included."
    )
    worker_setup_commands: Commands | None = Field(
        default=None, description="Replaces the cluster's `setup_commands` and `worker_setup_commands` on workers of this type."
    )


class Scaler(Block):
    """How the scaler answers the load, beside Ray's own `upscaling_speed` and `idle_timeout_minutes`."""

    target_utilization_fraction: Annotated[float, Field(strict=True, gt=0, le=1)] | None = Field(
        default=None,
        description="Keep the cluster so large that at most this part of its busiest resource is in use; 0.8 keeps a fifth "
        "free. Default: exactly what the load asks for; 0.8 where one of the next two keys is given.",
    )
    autoscaling_mode: Literal["default", "aggressive"] = Field(
        default="default", description="`aggressive`: whenever anything is in use at all, have `initial_workers` at least."
    )
    initial_workers: Count = Field(
        default=0,
        description="So many workers when the cluster is first brought up; they may go when idle, down to the minimum.",
    )
    machine_overhead: Amount | None = Field(
        default=None,
        description="What one machine more costs per hour beside its price: set-up, failures, traffic. The more, the fewer "
        "and bigger machines are chosen. Default: 0.02.",
    )
    run_on: Literal["head", "controller", "off"] | None = Field(
        default=None,
        description="Where the scaler runs: on the `head`, where `rayctl up` installs it; on a `controller`, by hand with "
        "`rayctl scaler`; or not at all (`off`). Default: the head where workers may come and go (a type's minimum is below "
        "its maximum), else off. For embedded clusters the controller takes the head's place.",
    )
    python: Word | None = Field(
        default=None,
        description="The Python (3.11 or newer) on the head that runs the scaler. Default: the newest `python3` there.",
    )
    launch_timeout_s: Amount = Field(
        default=900.0, description="A machine that takes no commands so long after its launch is ended, and another launched."
    )
    setup_timeout_s: Amount = Field(default=1800.0, description="The set-up of a node that takes longer has failed.")
    join_timeout_s: Amount = Field(
        default=120.0, description="A node that Ray does not know so long after its set-up is started anew, then replaced."
    )
    orphan_timeout: Amount = Field(
        default=1800.0,
        description="Seconds after which a worker whose head is gone stops its own Ray and gives its host back; 0: never.",
    )
    metrics_host: Word = Field(default="127.0.0.1", description="The address at which the scaler serves Prometheus metrics.")
    metrics_port: Annotated[int, Field(strict=True, ge=0, le=65535)] = Field(
        default=44217, description="The port of the metrics, by default that of Ray's own autoscaler; 0: none are served."
    )


class ProviderBlock(Block):
    """Where machines come from. Each provider has keys of its own: see `rayctl.config.provider`."""

    type: str = Field(description="The provider.")

    def settings(self) -> dict[str, Any]:
        """What the file says of the provider, as the plain mapping that its class is made with."""
        return self.model_dump(exclude_unset=True, exclude={"extensions"}, by_alias=True)


class ClusterConfig(Block):
    """A Ray cluster, in its normalised form: node types are always there and minimums add up (see `settle`)."""

    cluster_name: ClusterName = Field(
        description="The cluster's name: part of host names, folders and tags. Letters, digits, `-` and `_`, at most 63."
    )
    provider: SerializeAsAny[ProviderBlock] = Field(description="Where machines come from; `type` decides the other keys.")
    plugin: Literal["rayctl.ray.rayctl"] | None = Field(
        default=None, description="Lets plain Ansible take this file as an inventory source; rayctl itself does not need it."
    )
    max_workers: Count = Field(
        default=2, description="So many workers at most, the head not counted. On declared hosts the default is all of them."
    )
    min_workers: Count = Field(
        default=0,
        description="So many workers in all at least; node types that ask for fewer are raised in the order of the file.",
    )
    upscaling_speed: Amount = Field(
        default=1.0,
        description="How many nodes may be pending at once, as a multiple of those that run; at least 5 may always.",
    )
    idle_timeout_minutes: Amount = Field(default=5.0, description="A worker that is idle for so long is removed.")
    auth: Auth = Field(default=Auth.model_construct(), description="How rayctl logs in to the nodes.")
    docker: Docker | None = Field(
        default=None, description="Run set-up and start commands in a container; without an image, none."
    )
    available_node_types: Mapping[TypeName, NodeType] = Field(
        default_factory=dict, description="Node types by name. Default: one `head` and one `worker`."
    )
    head_node_type: TypeName | None = Field(
        default=None,
        description="The head's node type. Default: the one called `ray.head.default`, `ray_head_default` or `head`.",
    )
    file_mounts: Mapping[MountTarget, LocalPath] = Field(
        default_factory=dict,
        description="Files and folders that every node gets, as `target: local path`. A relative target is below the home "
        "folder, a relative local path below the cluster file's.",
    )
    cluster_synced_files: tuple[Word, ...] = Field(
        default=(), description="Paths on the head that every worker gets a copy of."
    )
    file_mounts_sync_continuously: Flag = Field(
        default=False, description="Send changed mounts to running workers too, without running their set-up again."
    )
    rsync_exclude: tuple[Line, ...] = Field(default=(), description="Patterns of files that mounts and rsync leave out.")
    rsync_filter: tuple[Line, ...] = Field(
        default=(), description="Names of files with such patterns, for example `.gitignore`."
    )
    initialization_commands: Commands = Field(
        default=(), description="Run first on every node, on the machine itself even with docker."
    )
    setup_commands: Commands = Field(default=(), description="Run on every node, in the container if there is one.")
    head_setup_commands: Commands = Field(default=(), description="Run on the head, after `setup_commands`.")
    worker_setup_commands: Commands = Field(default=(), description="Run on workers, after `setup_commands`.")
    head_start_ray_commands: Commands = Field(
        default=(), description="How Ray is started on the head. Default: rayctl's own way."
    )
    worker_start_ray_commands: Commands = Field(
        default=(), description="How Ray is started on workers. Default: rayctl's own way."
    )
    ray_version: RayVersion | None = Field(default=None, description="The Ray version that every node must have. Default: any.")
    scaler: Scaler = Field(default=Scaler.model_construct(), description="How the scaler answers the load.")
    metadata: Mapping[str, Any] = Field(default_factory=dict, description="Data of your own; not read.")
    no_restart: Flag = Field(default=False, description="Never restart a healthy Ray, as if `--no-restart` were always given.")

    @property
    def head_type(self) -> str:
        """The node type of the head."""
        return self.head_node_type or "head"

    @property
    def worker_types(self) -> tuple[str, ...]:
        """The node types of workers, in the order of the file."""
        return tuple(name for name in self.available_node_types if name != self.head_type)

    @property
    def scales(self) -> bool:
        """Whether workers may come and go."""
        return any(self.min_workers_of(name) < self.max_workers_of(name) for name in self.worker_types)

    @property
    def scaler_runs_on(self) -> Literal["head", "controller", "off"]:
        """Where the scaler runs, after the defaults."""
        wanted = self.scaler.run_on or ("head" if self.scales else "off")
        return "controller" if wanted == "head" and self.provider.type == "embedded" else wanted

    def kind_of(self, node_type: str) -> KindName:
        """Whether nodes of this type are the head or workers; no type is both."""
        return "head" if node_type == self.head_type else "worker"

    def min_workers_of(self, node_type: str) -> int:
        """So many workers of this type at least; the sum over all types never exceeds `max_workers`."""
        return 0 if node_type == self.head_type else self.available_node_types[node_type].min_workers

    def max_workers_of(self, node_type: str) -> int:
        """So many workers of this type at most, the cluster's own limit included."""
        if node_type == self.head_type:
            return 0
        limit = self.available_node_types[node_type].max_workers
        return self.max_workers if limit is None else min(limit, self.max_workers)
