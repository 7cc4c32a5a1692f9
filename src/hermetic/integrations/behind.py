"""The file system that ciphertext of sealed:: goes to."""

from __future__ import annotations

from typing import Any

from fsspec import filesystem

from hermetic.errors import Unsupported

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}


def behind(protocol: str, options: dict[str, Any]) -> Any:
    """Return the file system that ciphertext goes to. Raises Unsupported if its package is missing."""
    try:
        return filesystem(protocol, **options)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        hint = f"pip install {package}" if package else str(error)
        raise Unsupported(f"what fsspec needs for {protocol}:// is not installed", hint=hint) from error
