# SPDX-License-Identifier: Apache-2.0
"""The `provider:` blocks of the other systems that Ray knows: clouds, Kubernetes, and Ray's own test providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from rayctl.config.model import Block
from rayctl.config.provider import RaysProvider
from rayctl.config.words import Amount, Count, Flag, Host, Line, LocalPath, Port, Word


class KeyPair(Block):
    """A key pair that exists at the provider."""

    key_name: Line = Field(description="Its name there.")


class SecurityGroup(Block):
    """The AWS security group of the nodes."""

    GroupName: Line | None = Field(default=None, description="Name of the group. Default: one made for this cluster.")
    IpPermissions: tuple[Mapping[str, Any], ...] = Field(default=(), description="Inbound rules, in EC2's own words.")


class Retryer(Block):
    """How often the installation of the CloudWatch agent is tried."""

    max_attempts: Count | None = Field(default=None, description="Attempts on one host.")
    delay_seconds: Count | None = Field(default=None, description="Seconds between two attempts.")


class CloudwatchAgent(Block):
    """The CloudWatch agent on the nodes."""

    CLOUDWATCH_AGENT_INSTALLED_AMI_TAG: Line | None = Field(
        default=None, description="Tag of machine images that bring the agent along."
    )
    config: LocalPath | None = Field(default=None, description="Local path of the agent's configuration.")
    retryer: Retryer | None = Field(default=None, description="How often its installation is tried.")


class CloudwatchDashboard(Block):
    """A CloudWatch dashboard for the cluster."""

    name: Line | None = Field(default=None, description="Its name.")
    config: LocalPath | None = Field(default=None, description="Local path of its description.")


class CloudwatchAlarm(Block):
    """CloudWatch alarms for the nodes."""

    config: LocalPath | None = Field(default=None, description="Local path of their description.")


class Cloudwatch(Block):
    """CloudWatch for an AWS cluster."""

    agent: CloudwatchAgent | None = Field(default=None, description="The agent on the nodes.")
    dashboard: CloudwatchDashboard | None = Field(default=None, description="The cluster's dashboard.")
    alarm: CloudwatchAlarm | None = Field(default=None, description="Alarms for the nodes.")


class AwsProvider(RaysProvider):
    """EC2 instances."""

    type: Literal["aws"]
    region: Word | None = Field(default=None, description="The region, for example `us-west-2`.")
    availability_zone: Word | None = Field(
        default=None, description="Zones in the order in which they are tried, comma-separated."
    )
    cache_stopped_nodes: Flag = Field(
        default=True, description="Stop instances instead of terminating them, and start them again."
    )
    key_pair: KeyPair | None = Field(default=None, description="An EC2 key pair to use. Default: one made for this cluster.")
    security_group: SecurityGroup | None = Field(default=None, description="The nodes' security group.")
    aws_credentials: Mapping[str, Any] | None = Field(
        default=None, description="Credentials for boto3. Default: boto3's own search."
    )
    cloudwatch: Cloudwatch | None = Field(default=None, description="CloudWatch agent, dashboard and alarms.")


class GcpCredentials(Block):
    """How to log in to the GCP API."""

    type: Literal["credentials_token", "service_account"] = Field(description="A passing token, or a service account's key.")
    credentials: Line | None = Field(default=None, description="The token, or the service account's key as JSON.")


class GcpProvider(RaysProvider):
    """Compute Engine instances and TPUs."""

    type: Literal["gcp"]
    region: Word | None = Field(default=None, description="The region, for example `us-west1`.")
    availability_zone: Word | None = Field(default=None, description="The zone, for example `us-west1-a`.")
    project_id: Word | None = Field(default=None, description="The project's id.")
    cache_stopped_nodes: Flag = Field(
        default=True, description="Stop instances instead of deleting them, and start them again."
    )
    gcp_credentials: GcpCredentials | None = Field(
        default=None, description="Credentials. Default: the application default ones."
    )
    has_tpus: Flag | None = Field(default=None, alias="_has_tpus", description="Ray's own mark that a node type holds TPUs.")


class AzureProvider(RaysProvider):
    """Azure virtual machines."""

    type: Literal["azure"]
    location: Word | None = Field(default=None, description="The location, for example `westus2`.")
    resource_group: Word | None = Field(default=None, description="The resource group; made if it does not exist.")
    subscription_id: Word | None = Field(default=None, description="The subscription. Default: the azure command line's.")
    availability_zone: Word | None = Field(default=None, description="Zones, comma-separated; `auto`, or `none`.")
    cache_stopped_nodes: Flag = Field(default=True, description="Stop machines instead of deleting them, and start them again.")
    tags: Mapping[str, Any] = Field(default_factory=dict, description="Tags for everything that is made.")
    unique_id: Word | None = Field(
        default=None, description="What tells this cluster's resources from others of the same name."
    )
    subnet_mask: Word | None = Field(default=None, description="Address range of the subnet, for example `10.0.0.0/16`.")
    subnet_id: Word | None = Field(default=None, description="An existing subnet.")
    subnet: Word | None = Field(default=None, description="Id of the subnet, as Ray's bootstrap writes it.")
    nsg: Word | None = Field(default=None, description="Id of the network security group, as Ray's bootstrap writes it.")
    msi: Word | None = Field(default=None, description="Id of the managed identity, as Ray's bootstrap writes it.")
    msi_name: Word | None = Field(default=None, description="Name of an existing managed identity.")
    msi_resource_group: Word | None = Field(default=None, description="That identity's resource group.")
    msi_identity_id: Word | None = Field(default=None, description="Full id of a managed identity.")
    msi_identity_principal_id: Word | None = Field(default=None, description="Principal id of that identity.")


class AliyunProvider(RaysProvider):
    """Alibaba Cloud instances."""

    type: Literal["aliyun"]
    region: Word | None = Field(default=None, description="The region.")
    zone_id: Word | None = Field(default=None, description="The zone.")
    access_key: Word | None = Field(default=None, description="The access key's id.")
    access_key_secret: Word | None = Field(default=None, description="The access key's secret.")
    cache_stopped_nodes: Flag = Field(
        default=True, description="Stop instances instead of deleting them, and start them again."
    )
    cidr_block: Word | None = Field(default=None, description="Address range of the virtual switch.")
    key_name: Word | None = Field(default=None, description="Name of the key pair.")
    security_group_rule: tuple[Mapping[str, Any], ...] = Field(default=(), description="Rules of the security group.")
    security_group_id: Word | None = Field(default=None, description="An existing security group.")
    vpc_id: Word | None = Field(default=None, description="An existing virtual network.")
    v_switch_id: Word | None = Field(default=None, description="An existing virtual switch.")


class VsphereProvider(RaysProvider):
    """Virtual machines of a vSphere cluster."""

    type: Literal["vsphere"]
    vsphere_config: Mapping[str, Any] | None = Field(default=None, description="vSphere's own settings, handed on as they are.")


class KubernetesProvider(RaysProvider):
    """Pods, by Ray's former launcher (`kubernetes`) or KubeRay's operator (`kuberay`)."""

    type: Literal["kubernetes", "kuberay"]
    namespace: Word | None = Field(default=None, description="The namespace of the pods.")
    services: tuple[Mapping[str, Any], ...] = Field(default=(), description="Services to make for the cluster.")
    autoscaler_service_account: Mapping[str, Any] | None = Field(default=None, description="Service account of the autoscaler.")
    autoscaler_role: Mapping[str, Any] | None = Field(default=None, description="Role of the autoscaler.")
    autoscaler_role_binding: Mapping[str, Any] | None = Field(default=None, description="Role binding of the autoscaler.")


class FakeProvider(RaysProvider):
    """Ray's own providers for tests: fake nodes, in processes or in containers."""

    type: Literal["fake_multinode", "fake_multinode_docker"]
    image: Word | None = Field(default=None, description="Image of the fake nodes.")
    project_name: Word | None = Field(default=None, description="Name of the compose project.")
    shared_volume_dir: LocalPath | None = Field(default=None, description="Local folder that all fake nodes share.")
    head_resources: Mapping[str, Any] | None = Field(default=None, description="What the fake head offers.")
    head_node_id: Word | None = Field(default=None, description="Id of the fake head.")
    gcs_address: Line | None = Field(default=None, description="Address of the GCS.")
    env_vars: Mapping[str, Any] | None = Field(default=None, description="Environment variables of the fake nodes.")
    launch_multiple: Flag | None = Field(default=None, description="Launch several nodes in one call.")
    cleanup_interval: Amount | None = Field(default=None, description="Seconds between two clean-ups.")
    host_gcs_port: Port | None = Field(default=None, description="Port of the GCS on the host.")
    host_object_manager_port: Port | None = Field(default=None, description="Port of the object manager on the host.")
    host_client_port: Port | None = Field(default=None, description="Port of the client server on the host.")


class ReadonlyProvider(RaysProvider):
    """Nodes that somebody else starts."""

    type: Literal["readonly"]


class SparkProvider(RaysProvider):
    """Nodes inside a Spark job."""

    type: Literal["spark"]
    ray_head_ip: Host | None = Field(default=None, description="The head's address.")
    ray_head_port: Port | None = Field(default=None, description="The head's port.")
    cluster_unique_id: Word | None = Field(default=None, description="Id of the cluster in Spark.")
    spark_job_server_port: Port | None = Field(default=None, description="Port of the job server.")
