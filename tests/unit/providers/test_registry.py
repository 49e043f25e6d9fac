# SPDX-License-Identifier: Apache-2.0
"""Who serves a provider block, and what people read when nobody does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayctl.config.model import Auth
from rayctl.errors import Refused, UsageError
from rayctl.providers import registry
from rayctl.providers.base import Provider
from rayctl.providers.embedded import EmbeddedProvider
from rayctl.providers.registry import provider_for
from rayctl.providers.simulated import SimulatedProvider


@dataclass
class Block:
    type: str
    settings: dict[str, Any] = field(default_factory=dict)

    def model_dump(self) -> dict[str, Any]:
        return {"type": self.type, **self.settings}


def serve(type: str, **settings: Any) -> Provider:
    return provider_for(SimpleNamespace(cluster_name="demo", auth=Auth.model_construct(), provider=Block(type, settings)))


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("type", "cls"), [("embedded", EmbeddedProvider), ("simulated", SimulatedProvider)])
def test_our_own_are_found_without_a_look_at_what_is_installed(
    type: str, cls: type[Provider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "entry_points", None)
    provider = serve(type)
    assert isinstance(provider, cls)
    assert provider.cluster_name == "demo"


def test_keys_without_a_value_do_not_reach_the_provider() -> None:
    assert dict(serve("embedded", python=None, other="x").settings) == {"type": "embedded", "other": "x"}


@pytest.mark.parametrize("type", ["aws", "gcp", "azure", "kubernetes", "kuberay", "vsphere", "slurm", "yarn", "spark"])
def test_a_known_type_that_is_not_built_is_refused_in_one_sentence(type: str) -> None:
    with pytest.raises(Refused) as refused:
        serve(type)
    assert refused.value.exit_code == 3
    assert refused.value.message == (
        f'provider type "{type}" is not built yet: this rayctl brings up embedded clusters and declared hosts (type: local); '
        "nothing was touched."
    )


def test_a_misspelt_type_is_a_mistake_in_the_file() -> None:
    with pytest.raises(UsageError) as mistake:
        serve("embeded")
    assert mistake.value.hint == "did you mean `embedded`?"


def test_an_installed_package_may_serve_a_type(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("aws", "rayctl.providers.simulated:SimulatedProvider", registry.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group, name: EntryPoints([point]).select(group=group, name=name))
    assert isinstance(serve("aws"), SimulatedProvider)


def test_a_third_partys_class_is_imported_by_its_name(code: Path) -> None:
    (code / "their_cloud.py").write_text(
        "from rayctl.providers.simulated import SimulatedProvider\nclass Cloud(SimulatedProvider): pass\n"
    )
    provider = serve("external", module="their_cloud.Cloud", region="x")
    assert type(provider).__name__ == "Cloud"
    assert provider.settings["region"] == "x"


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("", "must name a class"),
        ("their_plain", "must name a class"),
        ("their_plain.", "must name a class"),
        (".Cloud", "must name a class"),
        ("their_absent.Cloud", "cannot be imported (ModuleNotFoundError: No module named 'their_absent')"),
        ("their_broken.Cloud", "cannot be imported (ZeroDivisionError: division by zero)"),
        ("their_plain.Cloud", "has no class Cloud"),
        ("their_plain.Number", "Number is no subclass of rayctl.providers.base.Provider"),
        ("their_plain.Other", "Other is no subclass of rayctl.providers.base.Provider"),
        ("their_plain.Half", "Half does not implement bootstrap, cluster_id, connection"),
    ],
)
def test_what_cannot_serve_is_refused_in_one_sentence(code: Path, module: str, sentence: str) -> None:
    (code / "their_broken.py").write_text("1 / 0\n")
    (code / "their_plain.py").write_text(
        "from rayctl.providers.base import Provider\nNumber = 1\nclass Other: pass\nclass Half(Provider): pass\n"
    )
    with pytest.raises(Refused) as refused:
        serve("external", module=module)
    assert sentence in refused.value.message
    assert refused.value.message.endswith("; nothing was touched.")


def test_code_beside_the_callers_files_is_not_imported_silently(tmp_path: Path) -> None:
    (tmp_path / "their_cloud.py").write_text("raise SystemExit('imported from the current folder')\n")
    root = Path(registry.__file__).parents[2]
    script = (
        f"import sys; sys.path[:] = [p for p in sys.path if p] + [{str(root)!r}]\n"
        "from types import SimpleNamespace as N\n"
        "from rayctl.errors import Refused\n"
        "from rayctl.config.model import Auth\n"
        "from rayctl.providers.registry import provider_for\n"
        "block = N(type='external', model_dump=lambda: {'module': 'their_cloud.Cloud'})\n"
        "try: provider_for(N(cluster_name='demo', auth=Auth.model_construct(), provider=block))\n"
        "except Refused as refused: print(refused.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "ModuleNotFoundError" in done.stdout
