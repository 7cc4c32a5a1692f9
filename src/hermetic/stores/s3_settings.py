"""Where an S3Store lies, as a value; apart from `s3`, so that reading settings stays light."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where a store lies. Nothing in it is secret; `prefix` belongs to this store alone."""

    bucket: str
    prefix: str
    endpoint: str | None = None  # None: Amazon's own
    region: str | None = None
    profile: str | None = None  # a name in boto3's own configuration
