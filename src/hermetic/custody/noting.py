"""What a writer should be told about a version at its publication: nothing here refuses, and nothing is decided by it.

its class is above what the asset was before     `ls` and `status` show the stricter one from now on
its bytes are known under a stricter class       somebody may have sealed a copy under a class that is too low; of what its writer
                                                 sees: a digest is the writer's word, and must tell nobody what others have
it was at another location than the one before   a rule gives two files one name
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermetic.catalog import assets, versions
from hermetic.catalog.locations import place_of
from hermetic.custody import callers, workspaces
from hermetic.custody.copies import digest_handle, strictest_copies
from hermetic.custody.views import members_of
from hermetic.ids import DataClass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.catalog.values import Asset, Version
    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession
    from hermetic.formats.messages.versions import PublishVersion

LOOKED_UP = 1000  # members whose bytes are compared with what is known: a folder of more is not held up


def notes_about(call: Call, session: ReadSession, what: tuple[Asset, Version], request: PublishVersion) -> tuple[str, ...]:
    """Return sentences about a draft that is about to be published. Raises RowTampered, FormatError."""
    asset, version = what
    before = versions.latest(session, asset)
    notes = [] if before is None else [*_raised(asset, version, before), *_elsewhere(asset, version, before, request)]
    return (*notes, *_stricter_copies(call, session, what, request))


def _raised(asset: Asset, version: Version, before: Version) -> Iterator[str]:
    known = max(asset.data_class, before.data_class, key=lambda item: item.rank)
    if version.data_class.rank > known.rank:
        yield f"{asset.name} was {known} and is {version.data_class} from this version on, as what it was made from or as was said"


def _elsewhere(asset: Asset, version: Version, before: Version, request: PublishVersion) -> Iterator[str]:
    """Two files of one stem that a rule without `{path}` gives one name; a rule that names all of a tree means it so."""
    if place_of(version) is None or place_of(before) is None:
        return
    former, now = {member.path for member in members_of(before)}, {item.member for item in request.objects}
    stems = {PurePosixPath(key).stem for key in former | now}
    if former and not former & now and stems == {asset.name.path.rpartition("/")[2]}:
        yield (
            f"{asset.name}@{before.number} lies at {min(former)}, and this version at {min(now)}: the rule gives both one name; "
            "`name: '{path}'` in it gives each its own"
        )


def _stricter_copies(call: Call, session: ReadSession, what: tuple[Asset, Version], request: PublishVersion) -> Iterator[str]:
    asset, version = what
    if version.data_class is DataClass.RESTRICTED:
        return
    objects = [item for item in request.objects[:LOOKED_UP] if item.plaintext_length and item.digest]
    handles = [digest_handle(call.custodian, item.digest) for item in objects]
    sight = workspaces.of(call, session, callers.require(call, session))
    known = strictest_copies(session, handles, lambda copy: sight.sees_version(session, copy))
    found = [copy for copy in known.values() if copy.data_class.rank > version.data_class.rank]
    if found:
        worst = max(found, key=lambda item: item.data_class.rank)
        yield (
            f"the same bytes are sealed as {assets.get(session, worst.asset_id).name}@{worst.number}, which is {worst.data_class}: "
            f"here they are {version.data_class}; if that is wrong, seal {asset.name} again with --class {worst.data_class}"
        )
