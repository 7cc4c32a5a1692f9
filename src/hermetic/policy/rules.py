"""Which asset a path is, and what is said about an asset: `rules:` of hermetic.yaml.

Rules are tried in the order of the file, and the first that matches decides; a rule that could never decide is an error of the
file. A path found by a rule gives a name; if a rule over assets matches that name too, the stricter class of the two holds, and
what the path's rule leaves out comes from it. What matches nothing gives None, so that the caller refuses and shows `suggest_rule`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermetic.errors import InvalidName
from hermetic.ids import AssetName, DataClass, Environment, Kind, Purpose, as_word
from hermetic.policy import globs

if TYPE_CHECKING:
    from hermetic.policy.model import PolicyDocument, Rule

_KINDS = {
    Kind.MODEL: (".safetensors", ".gguf", ".onnx", ".pt", ".pth", ".ckpt", ".pkl", ".joblib", ".keras", ".h5"),
    Kind.CONFIG: (".yaml", ".yml", ".toml", ".json", ".ini", ".ipynb", ".py"),
    Kind.LOG: (".log",),
    Kind.EMBEDDINGS: (".faiss", ".index"),
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an asset is, by the rules. None: the rules do not say. `line` is where the rule that decided stands."""

    name: AssetName
    data_class: DataClass
    environment: Environment
    project: str
    owner: str | None
    purposes: tuple[Purpose, ...] | None
    line: int
    placed: Environment | None = None  # what the rules themselves say of `environment`; None: nothing

    @property
    def kind(self) -> Kind:
        """The kind, which is part of the name."""
        return self.name.kind


def match_path(document: PolicyDocument, path: str, *, store: str | None = None) -> Resolution | None:
    """Return what lies at `path`, relative to the project or to a store, with slashes; None if no rule says.

    Raises InvalidName if a rule matches but the name it makes is none, for example when the file name has a space.
    """
    for rule in document.rules:
        if rule.paths and rule.store == store and any(globs.matches(glob, path) for glob in rule.paths):
            name = _name(rule, path)
            return _merged(document, name, rule, _asset_rule(document, name))
    return None


def match_asset(document: PolicyDocument, name: AssetName) -> Resolution | None:
    """Return what the rules over assets say about a name; None if they say nothing."""
    rule = _asset_rule(document, name)
    return None if rule is None else _merged(document, name, rule, None)


def match(document: PolicyDocument, target: str | AssetName) -> Resolution | None:
    """Return what a path (text) or an asset (AssetName) is; None if no rule says. Raises InvalidName."""
    return match_asset(document, target) if isinstance(target, AssetName) else match_path(document, target)


def suggest_rule(path: str, *, data_class: DataClass = DataClass.CONFIDENTIAL) -> str:
    """Return the line to add under `rules:` for a path that nothing matches; the class is a careful guess to be looked at."""
    pure = PurePosixPath(path)
    kind = next((kind for kind, suffixes in _KINDS.items() if pure.suffix.lower() in suffixes), Kind.DATASET)
    stem = as_word(pure.stem)
    name = "" if stem == pure.stem else f", name: {_quoted(stem)}"
    glob = re.sub(r"[\[\]{}\\]", "?", path)
    return f"  - {{path: {_quoted(glob)}, kind: {kind}, class: {data_class}{name}}}"


def _quoted(text: str) -> str:
    """Quote what YAML could take for something else than text."""
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*/[A-Za-z0-9._/-]+", text) else "'" + text.replace("'", "''") + "'"


def _asset_rule(document: PolicyDocument, name: AssetName) -> Rule | None:
    text = str(name)
    return next((rule for rule in document.rules if any(globs.matches(glob, text) for glob in rule.assets)), None)


def _merged(document: PolicyDocument, name: AssetName, first: Rule, second: Rule | None) -> Resolution:
    rules = [first] if second is None else [first, second]
    limits = [rule.purposes for rule in rules if rule.purposes is not None]
    placed = next((rule.environment for rule in rules if rule.environment is not None), None)
    return Resolution(
        name=name,
        data_class=max((rule.data_class for rule in rules), key=lambda data_class: data_class.rank),
        environment=document.environment if placed is None else placed,
        project=next((rule.project for rule in rules if rule.project is not None), document.project),
        owner=next((rule.owner for rule in rules if rule.owner is not None), None),
        purposes=tuple(purpose for purpose in Purpose if all(purpose in limit for limit in limits)) if limits else None,
        line=first.place.line,
        placed=placed,
    )


def _name(rule: Rule, path: str) -> AssetName:
    pure = PurePosixPath(path)
    parts = {"{stem}": pure.stem, "{parent}": pure.parent.name, "{path}": str(pure.parent / pure.stem)}
    text = re.sub(r"\{(?:stem|parent|path)\}", lambda found: parts[found[0]], rule.name or "{stem}")
    try:
        return AssetName.parse(f"{rule.kind}/{text}")
    except InvalidName as error:
        hint = f"give a name with `--as`, or write `name:` in the rule in line {rule.place.line} of hermetic.yaml"
        raise InvalidName(f"{path[:100]!r} makes no asset name: {error.message}", hint=hint) from None
