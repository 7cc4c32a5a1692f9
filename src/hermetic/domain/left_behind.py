"""What a restore does not bring back: data keys that a root wrapped itself open again only where its provider can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.formats.findings import Finding
from hermetic.keys import destruction, in_provider, roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.db.rows import ReadSession

CODE = "key-not-in-the-backup"


def find(session: ReadSession) -> Iterator[Finding]:
    """Yield a finding for every KEK version that lives in a root alone and has data keys."""
    for root in roots.ls(session):
        for kek, number in in_provider.under(session, root.root_id):
            count = destruction.count_data_keys(session, kek.kek_id, number)
            if count:
                yield Finding(
                    CODE,
                    "high",
                    kek.kek_id,
                    f"{count} data keys of {kek.environment.value}/{kek.data_class.value}/{kek.project} open through "
                    f"{root.provider_uri} alone, whose key is in no backup of this domain",
                    f"give config.yaml its settings, then hermetic key root resume {root.root_id[:8]}; without that key they are lost",
                )
