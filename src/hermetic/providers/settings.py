"""What a user's config.yaml says of a provider: flat text, by names that the backend knows. Never a secret, only where one lies.

    providers:
      openbao:transit/hermetic: {address: https://bao.example.org:8200, auth: approle, secret_id_file: /run/secrets/bao}

A backend lists its names with what each means; `read` refuses every other one, so that a misspelt setting is not a setting ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from hermetic.errors import ConfigError, UsageError
from hermetic.providers import passphrase, regions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermetic.crypto.secret import Secret
    from hermetic.providers.place import Place

LIMIT: Final = 4096  # characters of one value


def read(uri: str, place: Place, known: Mapping[str, str], *, required: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the settings of the provider `uri`. Raises ConfigError for a name not in `known`, or a `required` one missing."""
    where = f"config.yaml, providers, {uri}"
    given = {name: value for name, value in place.settings.items() if name != regions.SETTING}  # said of any provider
    strange = sorted(set(given) - set(known))
    if strange:
        names = "; ".join(f"{name}: {meaning}" for name, meaning in known.items()) or "none"
        raise ConfigError(f"{where}: unknown setting {strange[0][:80]!r}", hint=f"this provider knows {names}")
    missing = [name for name in required if name not in given]
    if missing:
        raise ConfigError(f"{where}: {missing[0]} is missing", hint=f"{missing[0]}: {known[missing[0]]}")
    return given


def secret_file(uri: str, name: str, value: str) -> Callable[[], Secret]:
    """Return what reads a secret from the file that the setting `name` names: mode 0600, one line. Raises ConfigError here, and then
    as `passphrase.from_file`."""
    path = Path(value)
    if not path.is_absolute():
        raise ConfigError(f"config.yaml, providers, {uri}: {name} is an absolute path")
    return passphrase.from_file(path)


def check(raw: object) -> dict[str, dict[str, str]]:
    """Return the section `providers` of config.yaml. Raises UsageError that says what is wrong."""
    if not isinstance(raw, dict):
        raise UsageError("providers maps provider URIs to settings")
    for uri, given in raw.items():
        if not isinstance(uri, str) or not isinstance(given, dict):
            raise UsageError("providers maps provider URIs to settings", hint="openbao:transit/NAME: {address: https://HOST:8200}")
        for name, value in given.items():
            if not isinstance(name, str) or not isinstance(value, str) or not 0 < len(value) <= LIMIT or "\0" in value:
                raise UsageError(f"providers.{uri}: settings are text", hint="quote numbers and yes/no")
    return {uri: dict(given) for uri, given in raw.items()}
