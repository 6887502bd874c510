"""The sample configurations are what the models read, and explain every key of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coordinator.config import CoordinatorConfig
from cordon.analyst.profile import Profile, read_profile
from cordon.auditor.profile import Profile as AuditorProfile
from cordon.auditor.profile import read_profile as read_auditor_profile
from cordon.catalogue import bundled_contracts
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import Misconfigured
from cordon.manifest import Manifest, parse_manifest
from node.config import NodeConfig
from node.mapping import Mapping
from node.policy import Policy

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "config"
SAMPLES: dict[str, type[BaseModel]] = {
    "coordinator.toml": CoordinatorConfig,
    "node.toml": NodeConfig,
    "policy.toml": Policy,
    "analyst.toml": Profile,
    "auditor.toml": AuditorProfile,
    "manifest.toml": Manifest,
    "mappings/stop_search.toml": Mapping,
    "mappings/nominals.toml": Mapping,
    "cluster/street_crime.toml": Mapping,
}
TOGETHER = {name: [name] for name, model in SAMPLES.items() if model is not Mapping} | {
    "mappings": [name for name, model in SAMPLES.items() if model is Mapping]
}
"""Samples that together explain every key of their model; each mapping has what the ones before cannot have."""

OPTION = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)
LINE = re.compile(r"^(?:#|#or )?(?P<key>[a-z_0-9]+) = |^\[+(?P<table>[a-z_.]+)\]+$")


def read(text: str, name: str, folder: Path) -> Any:
    """What the sample says, read the way that its own command reads it."""
    model = SAMPLES[name]
    if model is Manifest:
        return parse_manifest(text.encode())
    path = folder / "sample.toml"
    path.write_text(text, encoding="utf-8")
    return read_config(path, model)  # type: ignore[type-var]


def models_in(kind: Any) -> list[type[BaseModel]]:
    """The models that stand anywhere in a field's type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in models_in(part)]


def fields_of(model: type[BaseModel]) -> dict[tuple[str, str], FieldInfo]:
    """Every field of a model and of the models in it, by (model, key as it stands in TOML)."""
    found: dict[tuple[str, str], FieldInfo] = {}
    for name, field in model.model_fields.items():
        found[model.__name__, field.alias or name] = field
        for inner in models_in(field.annotation):
            found |= fields_of(inner)
    return found


def table_model(model: type[BaseModel], table: str) -> tuple[type[BaseModel], type[BaseModel], str]:
    """The model that a TOML table holds, the model that has it as a field, and that field's key."""
    key = table.split(".", maxsplit=1)[0]
    field = next(f for name, f in model.model_fields.items() if (f.alias or name) == key)
    (inner,) = models_in(field.annotation)
    return inner, model, key


def explained(text: str, model: type[BaseModel]) -> dict[tuple[str, str], str]:
    """The comment above the first mention of each (model, key)."""
    found: dict[tuple[str, str], str] = {}
    comment: list[str] = []
    current = model
    for line in text.splitlines():
        matched = LINE.match(line)
        if matched and matched["table"]:
            current, parent, key = table_model(model, matched["table"])
            found.setdefault((parent.__name__, key), " ".join(comment))
        elif matched:
            found.setdefault((current.__name__, matched["key"]), " ".join(comment))
        comment = [*comment, line[2:]] if line.startswith("# ") else []
    return found


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_read_by_its_own_model(name: str, tmp_path: Path) -> None:
    """A sample as it stands is a valid file."""
    assert isinstance(read((CONFIG / name).read_text(encoding="utf-8"), name, tmp_path), SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_with_every_option_taken_is_valid(name: str, tmp_path: Path) -> None:
    """Each option that is commented out is valid where it stands, with the value that it shows."""
    text = (CONFIG / name).read_text(encoding="utf-8")
    assert isinstance(read(OPTION.sub("", text), name, tmp_path), SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_with_a_misspelt_key_is_refused(name: str, tmp_path: Path) -> None:
    """The reading that the other tests rely on refuses a key that no model has."""
    text = (CONFIG / name).read_text(encoding="utf-8")
    with pytest.raises(Exception, match="misspelt"):
        read('misspelt = "1"\n' + text, name, tmp_path)


def explained_together(names: list[str]) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], FieldInfo]]:
    """The comments of several samples of one model, the first that has one counting, and the model's fields."""
    model = SAMPLES[names[0]]
    found: dict[tuple[str, str], str] = {}
    for name in names:
        for place, comment in explained((CONFIG / name).read_text(encoding="utf-8"), model).items():
            found[place] = found.get(place) or comment
    return found, fields_of(model)


@pytest.mark.parametrize("names", TOGETHER.values(), ids=TOGETHER)
def test_every_field_of_every_model_stands_in_its_sample(names: list[str]) -> None:
    """No setting exists that the samples do not show, set or commented out, and none is shown that does not."""
    shown, fields = explained_together(names)
    assert set(shown) == set(fields)


@pytest.mark.parametrize("names", TOGETHER.values(), ids=TOGETHER)
def test_every_comment_says_whether_a_key_is_required(names: list[str]) -> None:
    """A comment says `Required`, or `Default` and the very default of the model."""
    shown, fields = explained_together(names)
    for place, comment in shown.items():
        field = fields[place]
        assert ("Required." in comment) == field.is_required(), place
        assert ("Default: " in comment) != field.is_required(), place
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        if isinstance(default, bool | int) or (default and isinstance(default, str)):
            assert f"Default: {str(default).lower()}." in comment, place
        assert len(comment) > len("Required. Default: none."), place


def test_mappings_fit_the_contracts_that_come_with_cordon() -> None:
    """The sample mappings name columns and codes that their contracts have."""
    contracts = {c.dataset: c for c in map(Contract.from_toml, bundled_contracts())}
    for path in sorted((CONFIG / "mappings").glob("*.toml")):
        mapping = read_config(path, Mapping)
        mapping.check(contracts[mapping.dataset])


def test_budget_domains_of_the_mappings_stand_in_the_policy() -> None:
    """A force that takes the samples as they are has a budget for each of its mappings."""
    policy = read_config(CONFIG / "policy.toml", Policy)
    domains = {read_config(path, Mapping).domain for path in (CONFIG / "mappings").glob("*.toml")}
    assert domains == set(policy.budget)


def test_the_mappings_that_the_node_sample_lists_exist() -> None:
    """The node sample's mappings are the samples beside it."""
    listed = tomllib.loads((CONFIG / "node.toml").read_text(encoding="utf-8"))["mappings"]
    assert sorted(listed) == sorted(f"mappings/{path.name}" for path in (CONFIG / "mappings").glob("*.toml"))


def test_the_contract_hashes_of_the_manifest_sample_are_those_of_the_contracts() -> None:
    """The manifest sample lists contracts that come with Cordon, by their true hashes."""
    bundled = {Contract.from_toml(payload).digest.hex() for payload in bundled_contracts()}
    listed = parse_manifest((CONFIG / "manifest.toml").read_bytes()).contracts
    assert {item.sha256 for item in listed} <= bundled


def test_the_hint_about_a_missing_profile_names_the_sample(tmp_path: Path) -> None:
    """What a person without a profile is told to look at exists."""
    for read_one in (read_profile, read_auditor_profile):
        with pytest.raises(Misconfigured) as missing:
            read_one(tmp_path / "profile.toml")
        (named,) = re.findall(r"deploy/\S+\.toml", missing.value.hint)
        assert (ROOT / named).is_file()
