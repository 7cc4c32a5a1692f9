"""What a refused request is about, of what exists: so that noise about names which nobody has hides no refusal (`audit.floods`).

Only what the log may say to everybody comes out of here: ids. A caller is told nothing of it. Where looking fails, as for a row that
was changed by hand, the refusal goes on record as one about what was decided alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from hermetic.access import identity
from hermetic.db import tables
from hermetic.errors import HermeticError
from hermetic.ids import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hermetic.custody.call import Call
    from hermetic.db.rows import ReadSession

MOST = 8  # as many as an entry names: who asks about hundreds at once uses up no more firsts than this
_NAMES = ("refs", "ref", "name", "old", "new")
_IDS = {
    "version": tables.version,
    "versions": tables.version,
    "run": tables.run,
    "kek": tables.kek,
    "root": tables.root,
    "grant": tables.grant_,
}
LENGTH: Final = 26
_PREFIX = re.compile(rf"[0-9a-z]{{4,{LENGTH}}}")  # of an id: some requests take its beginning


def things(call: Call, decided: object) -> tuple[str, ...]:
    """Return ids of assets, versions, runs, keys, roots, grants and principals that a request names, after what was `decided` on."""
    known = [decided] if isinstance(decided, str) and decided not in {"new", call.custodian.domain} else []
    try:
        with call.custodian.database.read(call.custodian.row_keys) as session:
            found = list(dict.fromkeys([*known, *_named(call, session)]))
    except HermeticError:  # the refusal goes on record even so
        found = known
    return tuple(found[:MOST])


def _named(call: Call, session: ReadSession) -> Iterator[str]:
    request: Any = call.request
    for field in _NAMES:
        for text in _texts(getattr(request, field, None)):
            yield from _assets(session, text)
    for field, table in _IDS.items():
        for text in _texts(getattr(request, field, None)):
            yield from _ids(session, table, text)
    for text in _texts(getattr(request, "principal", None)):
        yield from _principals(session, text)


def _texts(value: object) -> Iterable[str]:
    several = value if isinstance(value, tuple) else (value,)
    return [item for item in several[:MOST] if isinstance(item, str) and item.isprintable()]


def _assets(session: ReadSession, text: str) -> Iterator[str]:
    try:
        name = str(Ref.parse(text).name)
    except HermeticError:
        return
    for row in session.find(tables.asset, name=name):
        yield row["id"]


def _ids(session: ReadSession, table: sa.Table, text: str) -> Iterator[str]:
    if _PREFIX.fullmatch(text):
        # the bounds let an index find them, which LIKE does not: who asks for what is not there would have all rows read
        where = (table.c.id >= text, table.c.id <= text.ljust(LENGTH, "z"), table.c.id.startswith(text))
        for (found,) in session.connection.execute(sa.select(table.c.id).where(*where).limit(2)):
            yield str(found)


def _principals(session: ReadSession, text: str) -> Iterator[str]:
    found = identity.find(session, text) or identity.by_name(session, text)
    if found is not None:
        yield found.principal.id
