"""Where a root lies: what its URI says, else the setting `region` of its provider in custody's config.yaml.

    providers:
      pkcs11:token=lake: {region: eu-central, module: …}

A backend whose URIs name their region offers `regions(uri, settings)`: the key's own one first, then those of its replicas.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hermetic.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTING: Final = "region"
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


def regions_of(uri: str, settings: Mapping[str, str], backend: object) -> tuple[str, ...]:
    """Return every region that a root's key is in; () where nobody said. Raises ConfigError for a setting that contradicts the URI."""
    said = settings.get(SETTING)
    if said is not None and not _REGION.fullmatch(said):
        raise ConfigError(f"config.yaml, providers, {uri}: region is the name of a region", hint="such as eu-central-1")
    of_uri = getattr(backend, "regions", None)
    found: tuple[str, ...] = () if of_uri is None else of_uri(uri, settings)
    if said is not None and found and said != found[0]:
        raise ConfigError(
            f"config.yaml, providers, {uri}: region is {said}, and the key is in {found[0]}", hint="remove `region` there"
        )
    return found or (() if said is None else (said,))
