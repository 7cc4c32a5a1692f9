"""A catalog in a fresh database: one session for writing, an asset, and helpers to publish versions of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hermetic.catalog import assets, versions
from hermetic.catalog.values import NewAsset, NewDraft, Publication, SealedObject, fresh_id
from hermetic.crypto.secret import Secret
from hermetic.db import tables
from hermetic.db.columns import RowKeys
from hermetic.db.engine import Database
from hermetic.ids import AssetName, DataClass, Environment, Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hermetic.catalog.values import Asset, Version
    from hermetic.db.rows import Session


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return Database.create(tmp_path_factory.mktemp("template") / "home" / "custody.db").snapshot_bytes()


@pytest.fixture
def session(tmp_path: Path, template: bytes) -> Iterator[Session]:
    keys = RowKeys(Secret.random(), Secret.random(), Secret.random())
    with Database.from_snapshot(tmp_path / "home" / "custody.db", template).write(keys) as opened:
        yield opened


@pytest.fixture
def key_version(session: Session) -> tuple[str, int]:
    session.insert(
        tables.kek,
        id="kek",
        environment="development",
        data_class="restricted",
        project="",
        state="active",
        epoch=1,
        created_ms=1,
    )
    session.insert(tables.kek_version, kek_id="kek", number=1, state="active", wraps=0, created_ms=1, updated_ms=1)
    return "kek", 1


@pytest.fixture
def patients(session: Session) -> Asset:
    new = NewAsset(
        name=AssetName.parse("dataset/patients"),
        environment=Environment.DEVELOPMENT,
        data_class=DataClass.RESTRICTED,
        owner="ana",
        project="heart",
        retention_days=30,
    )
    return assets.create(session, new, now_ms=1000)


@pytest.fixture
def draft(session: Session) -> Callable[..., Version]:
    def make(asset: Asset, *, now_ms: int = 2000, data_class: DataClass | None = None, run_id: str | None = None) -> Version:
        new = NewDraft(
            data_class=data_class or asset.data_class,
            purpose=Purpose.INGEST,
            writer="ana",
            store="default",
            run_id=run_id,
            details={"files": ["a.csv"]},
        )
        return versions.create_draft(session, asset, new, now_ms=now_ms)

    return make


@pytest.fixture
def publication(session: Session, key_version: tuple[str, int]) -> Callable[..., Publication]:
    def make(version: Version, *, number: int | None = None, count: int = 2) -> Publication:
        key = fresh_id()
        session.insert(tables.data_key, id=key, version_id=version.id, kek_id="kek", kek_number=1, wrapped=b"wrapped", state="active")
        place = versions.next_place(session, version.asset_id)
        return Publication(
            number=place.number if number is None else number,
            manifest=b"manifest of " + version.id.encode(),
            openings=b"openings",
            manifest_hash=version.id.encode()[:32].ljust(32),
            objects=tuple(SealedObject(fresh_id(), index, b"r" * 32, "blake3", 100 + index, key) for index in range(count)),
            length=5000,
            published_ms=3000,
        )

    return make


@pytest.fixture
def publish(session: Session, draft: Callable[..., Version], publication: Callable[..., Publication]) -> Callable[..., Version]:
    def make(asset: Asset, **how: object) -> Version:
        version = draft(asset, **how)
        return versions.publish(session, version, publication(version))

    return make
