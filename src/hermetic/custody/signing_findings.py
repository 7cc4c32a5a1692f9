"""What people should look at around signing keys: overdue ones, those left in tokens, signatures that may be somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from hermetic.audit.leaf import Leaf
from hermetic.catalog.values import VersionState
from hermetic.custody.cataloguing import ref_of
from hermetic.custody.signing_keys import USES
from hermetic.db import tables
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.manifest import ENVELOPE_LIMIT
from hermetic.formats.messages.base import Pair
from hermetic.ids import KeyState, VersionId
from hermetic.keys import secret_keys, signing_care
from hermetic.keys.secret_keys import LOG_SIGNING, MANIFEST_SIGNING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.keys.secret_keys import SecretKey
    from hermetic.keys.signing_care import Doubt

DAY_MS: Final = 86_400_000
LISTED: Final = 100  # versions of one key


def gather(call: Call, session: ReadSession) -> Iterator[Pair]:
    """Yield what stands out."""
    for use, purpose in USES.items():
        found = secret_keys.ls(session, purpose)
        yield from _overdue(call, session, use, found)
        for key in found:
            home = signing_care.still_in(session, key.key_id)
            if home:
                yield Pair("signing-key-left-in-token", f"{key.key_id}|{home}")
            doubt = signing_care.doubt_about(session, key.key_id)
            if doubt is not None and purpose == MANIFEST_SIGNING:
                yield from _doubtful_versions(session, key, doubt)
            if doubt is not None and purpose == LOG_SIGNING:
                yield from _doubtful_entries(session, key, doubt)


def _overdue(call: Call, session: ReadSession, use: str, found: list[SecretKey]) -> Iterator[Pair]:
    days = signing_care.care_of(session, USES[use]).rotate_after_days
    for key in found:
        if days is not None and key.state is KeyState.ACTIVE:
            late = call.now_ms - key.created_ms - days * DAY_MS
            if late > 0:
                yield Pair("signing-rotation-overdue", f"{use}|{max(1, late // DAY_MS)}")


def _doubtful_versions(session: ReadSession, key: SecretKey, doubt: Doubt) -> Iterator[Pair]:
    """Name published versions that a compromised key signed after the entry up to which it is believed."""
    listed = 0
    for generation, index, version_id in _published_after(session, doubt):
        row = session.get(tables.version, version_id)
        if row is None or row["state"] != VersionState.PUBLISHED.value or not row["manifest"]:
            continue
        if parse_envelope(row["manifest"], limit=ENVELOPE_LIMIT).key_id == key.key_id:
            yield Pair("signed-by-compromised-key", f"{ref_of(session, VersionId(version_id))}|{generation}/{index}")
            listed += 1
            if listed == LISTED:
                return


def _published_after(session: ReadSession, doubt: Doubt) -> Iterator[tuple[int, int, str]]:
    leaf = tables.log_leaf
    later = sa.or_(leaf.c.generation > doubt.generation, sa.and_(leaf.c.generation == doubt.generation, leaf.c.idx > doubt.index))
    query = sa.select(leaf.c.leaf).where(leaf.c.kind == "version.published", later).order_by(leaf.c.generation, leaf.c.idx)
    for (raw,) in session.connection.execute(query):
        said = Leaf.parse(bytes(raw))
        yield said.generation, said.index, str(said.facts.get("version"))


def _doubtful_entries(session: ReadSession, key: SecretKey, doubt: Doubt) -> Iterator[Pair]:
    """Say which part of the log a compromised key vouches for alone: up to where it handed over."""
    leaf = tables.log_leaf
    query = sa.select(leaf.c.leaf).where(leaf.c.kind == "key.rotated").order_by(leaf.c.generation, leaf.c.idx)
    start = doubt.generation, doubt.index
    for (raw,) in session.connection.execute(query):
        said = Leaf.parse(bytes(raw))
        place = said.generation, said.index
        if said.facts.get("key") == key.key_id:  # it came into force
            start = max(start, place)
        if said.facts.get("previous") == key.key_id and start < place:
            yield Pair("log-signed-by-compromised-key", f"{key.key_id}|{start[0]}/{start[1]} to {place[0]}/{place[1]}")
