"""A domain as custody might describe it: a hospital's risk model, with work in all stages and some things amiss."""

from __future__ import annotations

import types

from hermetic.evidence.surroundings import Anchoring, PlainFile, Surroundings, SwapArea
from hermetic.formats.messages.base import Pair
from hermetic.formats.messages.catalogue import AssetRow, ExposureRow
from hermetic.formats.messages.domain import Facts, OpenerFact, RootFact, UseFact
from hermetic.formats.messages.greeting import Welcome
from hermetic.formats.messages.keys import KeyRow, KeyVersionRow
from hermetic.formats.messages.runs import RunRow
from hermetic.ids import DataClass, Environment, Purpose, Stage
from hermetic.policy.model import (
    Algorithms,
    EnvironmentRules,
    Flow,
    PolicyDocument,
    StageRules,
    StoreKind,
    StoreRules,
)

DOMAIN = "mfrggzdfmztwq2lknnwg23tpoa"
NOW = 1_763_712_000_000
HOUR, DAY = 3_600_000, 86_400_000
DIGEST = bytes(32)


def asset(name: str, data_class: str = "internal", **given) -> AssetRow:
    values = {
        "asset": DOMAIN,
        "environment": Environment.DEVELOPMENT,
        "owner": "ana",
        "project": "cardio",
        "latest": 1,
        "versions": 1,
        "length": 4096,
        "retention_days": 730,
        "updated_ms": NOW - DAY,
    }
    return AssetRow(name=name, data_class=DataClass(data_class), **(values | given))


def run(name: str, purpose: str, inputs: tuple[str, ...], outputs: tuple[str, ...], **given) -> RunRow:
    values = {"run": DOMAIN, "principal": "ana", "state": "finished", "started_ms": NOW - HOUR, "ended_ms": NOW, "facts": ()}
    return RunRow(name=name, purpose=Purpose(purpose), inputs=inputs, outputs=outputs, **(values | given))


def key(data_class: str, assets: tuple[str, ...], **given) -> KeyRow:
    values = {
        "kek": DOMAIN,
        "environment": Environment.DEVELOPMENT,
        "project": "cardio",
        "state": "active",
        "epoch": 1,
        "owner": "sam",
        "created_ms": NOW - 10 * DAY,
        "rotate_after_days": 90,
        "last_use_ms": NOW - HOUR,
        "roots": ("local:keyring",),
        "versions": (KeyVersionRow(1, "active", NOW - 10 * DAY, 12, len(assets)),),
    }
    return KeyRow(data_class=DataClass(data_class), assets=assets, **(values | given))


def exposure(ref: str, path: str, **given) -> ExposureRow:
    values = {
        "id": DOMAIN,
        "owner": "ana",
        "purpose": Purpose.PREPARE,
        "started_ms": NOW - HOUR,
        "until_ms": NOW + HOUR,
        "ended_ms": None,
    }
    return ExposureRow(ref=ref, path=path, **(values | given))


def facts(**given) -> Facts:
    values = {
        "at_ms": NOW,
        "domain": DOMAIN,
        "generation": 1,
        "enforcement": "cooperative",
        "roots": (RootFact("r1", "local:keyring", "unlocked", ()),),
        "keys": (),
        "assets": (),
        "openers": (),
        "uses": (),
        "denials": 0,
        "exposures": (),
        "runs": (),
        "unknown_owners": (),
        "open_intents": 0,
        "log_size": 214,
        "log_root": bytes(range(32)),
        "policy_digest": DIGEST,
        "backup": GOOD_BACKUP,
        "edges": (),
    }
    return Facts(**(values | given))


GOOD_BACKUP = (
    Pair("place", "/mnt/backup"),
    Pair("last_ms", str(NOW - HOUR)),
    Pair("log_size", "214"),
    Pair("checked_ms", str(NOW - DAY)),
    Pair("has_recovery", "true"),
    Pair("anchor_size", "214"),
)


def welcome() -> Welcome:
    return Welcome(DOMAIN, 1, "cooperative", "ana", ("domain-owner",), DIGEST, "key", (), "note")


def document(pipeline: dict[Stage, StageRules] | None = None) -> PolicyDocument:
    return PolicyDocument(
        domain=DOMAIN,
        project="cardio-risk",
        algorithms=Algorithms.STANDARD,
        environment=Environment.DEVELOPMENT,
        stores=types.MappingProxyType({"sealed": StoreRules(StoreKind.LOCAL, "sealed"), "vault": StoreRules(StoreKind.NAMED)}),
        environments={
            Environment.DEVELOPMENT: EnvironmentRules("sealed"),
            Environment.STAGING: EnvironmentRules("sealed"),
            Environment.PRODUCTION: EnvironmentRules("vault"),
        },
        classes={},
        operations={},
        roles={},
        pipeline=pipeline or {},
    )


def around(**given) -> Surroundings:
    values = {"root": "/srv/cardio", "document": document(), "edited_policy": DIGEST, "anchoring": Anchoring(214)}
    return Surroundings(**(values | given))


PIPELINE = {
    Stage.INGESTION: StageRules(("sealed",), (Flow("hospital-export", "ingestion", "mtls"),), ("fetch",)),
    Stage.PREPARATION: StageRules(("sealed",), (Flow("ingestion", "preparation", "memory"),), ("clean",)),
    Stage.FEATURES: StageRules(("sealed",), (Flow("preparation", "features", "memory"),), ("featurize", "embed")),
    Stage.TRAINING: StageRules(("sealed",), (Flow("features", "training", "memory"),), ("train-risk",)),
    Stage.REGISTRY: StageRules(("vault",), (Flow("training", "registry", "memory"),), ()),
    Stage.INFERENCE: StageRules(("vault",), (Flow("registry", "inference", "memory"),), ("risk-api",)),
    Stage.MONITORING: StageRules((), (Flow("inference", "monitoring", "memory"),), ("drift-watch",)),
}

ASSETS = (
    asset("dataset/patients", "restricted", latest=3, length=734_003_200),
    asset("dataset/lab-results", "restricted", latest=12, length=92_003_200),
    asset("dataset/icd-codes", "public", length=1_200_000, owner="", retention_days=None),
    asset("dataset/cohort", "confidential", latest=7, length=150_000_000),
    asset("features/vitals", "confidential", latest=4, length=48_000_000),
    asset("embeddings/notes", "restricted", latest=2, length=210_000_000),
    asset("checkpoint/risk", "confidential", latest=9, length=1_400_000_000, owner="zoe"),
    asset("config/risk", "internal", latest=5, length=2_100),
    asset("model/risk", "confidential", latest=3, length=1_400_000_000, environment=Environment.PRODUCTION),
    asset("payload/risk-api", "restricted", latest=40, length=9_000_000, environment=Environment.PRODUCTION),
    asset("feedback/clinicians", "internal", latest=2, length=40_000),
    asset("backup/custody", "restricted"),
)

RUNS = (
    run("clean", "prepare", ("dataset/patients@3", "dataset/lab-results@12", "dataset/icd-codes@1"), ("dataset/cohort@7",)),
    run("featurize", "prepare", ("dataset/cohort@7",), ("features/vitals@4",)),
    run("embed", "prepare", ("dataset/patients@3",), ("embeddings/notes@2",)),
    run("train-risk", "train", ("features/vitals@4", "embeddings/notes@2", "config/risk@5"), ("checkpoint/risk@9",)),
    run("train-risk", "train", ("features/vitals@3", "config/risk@5"), ("checkpoint/risk@8",), state="failed"),
    run("export", "train", ("checkpoint/risk@9",), ("model/risk@3",)),
    run("risk-api", "serve", ("model/risk@3",), ("payload/risk-api@40",)),
    run("review", "audit", ("payload/risk-api@40",), ("feedback/clinicians@2",)),
    run("relabel", "ingest", ("feedback/clinicians@2",), ("dataset/lab-results@12",)),
)

FULL_FACTS = facts(
    assets=ASSETS,
    runs=RUNS,
    keys=(
        key("restricted", tuple(a.name for a in ASSETS if a.data_class == "restricted")),
        key("confidential", tuple(a.name for a in ASSETS if a.data_class == "confidential")),
        key("internal", tuple(a.name for a in ASSETS if a.data_class == "internal")),
        key("public", tuple(a.name for a in ASSETS if a.data_class == "public")),
    ),
    openers=(OpenerFact("dataset/patients", "ana", (Purpose.PREPARE, Purpose.TRAIN), ("owner-opens",)),),
    uses=(UseFact("ana", "dataset/patients", Purpose.PREPARE, 4, NOW - HOUR),),
    exposures=(exposure("dataset/patients@3", "/srv/cardio/patients.parquet"),),
    unknown_owners=("zoe",),
    backup=GOOD_BACKUP[:-1],
)

FULL_AROUND = around(
    document=document(PIPELINE),
    swap=(SwapArea("/dev/sda2", "plain"),),
    plain_files=(
        PlainFile("data/raw/patients.csv", "csv", 734_000_000, "dataset/patients@3"),
        PlainFile("data/raw/extra.parquet", "parquet", 1_000_000),
        PlainFile("out/risk-old.safetensors", "safetensors", 1_300_000_000),
    ),
    scanned=("/srv/cardio",),
)
