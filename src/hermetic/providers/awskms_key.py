"""Keys of AWS KMS as URIs name them, and what config.yaml may say of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS: Final = {
    "endpoint": "https address of a private endpoint, instead of Amazon's own",
    "profile": "name of a profile in boto3's own configuration",
    "replicas": "other Regions of a multi-Region key, separated by commas",
    "ca": "absolute path of the certificates that vouch for the endpoint",
}
_REGION: Final = re.compile(r"[a-z]{2,3}(-[a-z]+)+-[0-9]{1,2}")
_NAME: Final = r"mrk-[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ALIAS: Final = r"alias/[A-Za-z0-9/_-]{1,250}"
_PLAIN: Final = re.compile(rf"awskms:(?P<region>[a-z0-9-]+)/(?P<name>{_NAME}|{_ALIAS})")
_ARN: Final = re.compile(
    rf"awskms:arn:(?P<part>aws[a-z-]*):kms:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{{12}}):(?P<name>key/(?:{_NAME})|{_ALIAS})"
)


@dataclass(frozen=True, slots=True)
class KmsKey:
    """A key as a URI names it."""

    region: str
    name: str
    before: str = ""  # of an ARN: partition
    account: str = ""

    @classmethod
    def parse(cls, uri: str) -> KmsKey:
        """Read a URI. Raises UsageError."""
        found = _PLAIN.fullmatch(uri) or _ARN.fullmatch(uri)
        if found is None or not _REGION.fullmatch(found["region"]) or found["name"].startswith("alias/aws/"):
            raise UsageError(
                f"{uri!r} names no key of yours in AWS KMS", hint="awskms:eu-west-1/alias/NAME, awskms:REGION/KEY-ID or awskms:ARN"
            )
        parts = found.groupdict()
        return cls(parts["region"], parts["name"], parts.get("part", ""), parts.get("account", ""))

    def named(self, region: str) -> str:
        """Return what the service calls it in a Region."""
        return f"arn:{self.before}:kms:{region}:{self.account}:{self.name}" if self.before else self.name


def regions(uri: str, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return the Region of a key, then those of its replicas. Raises UsageError, ConfigError."""
    key = KmsKey.parse(uri)
    return (key.region, *replicas(uri, key, settings.get("replicas", "")))


def replicas(uri: str, key: KmsKey, text: str) -> tuple[str, ...]:
    """Return the Regions of the setting `replicas`. Raises ConfigError."""
    regions = tuple(region.strip() for region in text.split(",")) if text else ()
    if regions and not key.name.removeprefix("key/").startswith("mrk-"):
        raise ConfigError(f"config.yaml, providers, {uri}: replicas are for multi-Region keys", hint="their ids begin with mrk-")
    for region in regions:
        if not _REGION.fullmatch(region) or region == key.region or regions.count(region) > 1:
            raise ConfigError(f"config.yaml, providers, {uri}: replicas are other Regions", hint="eu-west-1, eu-central-1")
    return regions
