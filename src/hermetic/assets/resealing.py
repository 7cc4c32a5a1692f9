"""A version's files sealed again, under a fresh data key: decrypted and encrypted in memory, a piece at a time, each verified."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hermetic.assets.releases import release
from hermetic.assets.sealing import Terms, begin, summary
from hermetic.formats.suites import suite
from hermetic.sealed.content import PIECE, ContentDigest

if TYPE_CHECKING:
    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.formats.messages.catalogue import VersionDetails
    from hermetic.ids import Purpose
    from hermetic.sealed.reader import ObjectReader

_PIECE = 4 * 1024 * 1024  # bytes


def copy_member(reader: ObjectReader, draft: DraftVersion) -> None:
    """Seal what an open object holds as a member of `draft`, under the same path. Raises IntegrityError, StorageError, LeaseEnded.

    Where the two have digests of different algorithms, custody is told both, so that it can see that the content is the same.
    """
    writer = draft.add_member(reader.metadata.name)
    algorithm = reader.header.suite.digest
    former = None if algorithm == suite(draft.draft.suite).digest else ContentDigest(algorithm)
    if former is not None:
        former.pieces.reserve(-(-reader.length // PIECE))
    try:
        buffer = memoryview(bytearray(min(_PIECE, max(1, reader.length))))
        for offset in range(0, reader.length, buffer.nbytes):
            count = reader.readinto_at(offset, buffer[: reader.length - offset])
            writer.write(buffer[:count])
            for start in range(0, count if former is not None else 0, PIECE):
                former.add((offset + start) // PIECE, buffer[start : min(start + PIECE, count)])  # type: ignore[union-attr]
        record = writer.finish(reader.metadata)
        if former is not None:
            draft.note_former(record.member, former.finish(reader.length))
    except BaseException:
        writer.abort()
        raise


def reseal(session: Session, details: VersionDetails, *, purpose: Purpose, label: str) -> SealedVersion:
    """Seal a version of this domain again as the next one of its asset; `label` names the old one in the new.

    Class, owner, environment and project stay, and the old version is the new one's parent. Raises what opening and sealing raise;
    then nothing is published.
    """
    terms = Terms(
        name=details.name,
        data_class=details.data_class,
        owner=details.owner or None,
        project=details.project or None,
        environment=details.environment,
        purpose=purpose,
        parents=(),
        retention_days=details.retention_days,
    )
    (version,) = release(session, (details.ref,), purpose=purpose, environment=details.environment)
    with version, begin(session, replace(terms, read=(version.released.version,))) as draft:
        for member in version.members:
            with version.reader(member) as reader:
                copy_member(reader, draft)
        return summary(draft, draft.publish(labels=(*details.labels, (label, details.ref))), ())
