"""Trying a provider that no domain uses yet: a root is made there for the test, under a home that is removed afterwards."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.catalog.values import fresh_id
from hermetic.crypto.secret import Secret
from hermetic.domain import config, project
from hermetic.domain.home import Home
from hermetic.errors import NotFound
from hermetic.ids import DomainId
from hermetic.keys.domain_file import check_uri
from hermetic.keys.provider import RootId
from hermetic.providers import conformance, registry, unlock
from hermetic.providers.place import Asked, Place

if TYPE_CHECKING:
    from hermetic.formats.messages.roots import ProviderReport


def try_provider(uri: str) -> ProviderReport:
    """Make a root at `uri`, or find a key service's, measure it, remove what was made. Settings come from the project's config.yaml.

    Raises UsageError, ConfigError, KeyServiceUnavailable, Unsupported.
    """
    passphrase = Secret.random(32)
    with tempfile.TemporaryDirectory(prefix="hermetic-trial-") as folder:
        place = Place(Path(folder), DomainId(fresh_id()), RootId(fresh_id()), settings=_settings().get(check_uri(uri), {}))
        provider = registry.create_root(uri, place, Asked(ask=lambda: passphrase))
        try:
            for locked in unlock.with_passphrase([provider]):
                unlock.unlock_here(locked, lambda: passphrase)
            return conformance.measure(provider)
        finally:
            registry.discard_root(uri, place)


def _settings() -> dict[str, dict[str, str]]:
    """Return what config.yaml of the project around the working folder says of providers; nothing outside a project."""
    try:
        found = project.load(project.find_root(Path.cwd()))
    except NotFound:
        return {}
    return config.load(Home.locate(os.environ).domain_config(found.domain)).providers
