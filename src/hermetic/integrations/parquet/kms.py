"""What Arrow calls: a KmsClient on a keyring, and the settings with which files are written and read.

Arrow wraps the keys of a file one after the other in one thread: the footer's, then one for each column. `Files` tells by counting
where a file ends, when one client serves many files (`write_dataset`), so that each file has an id of its own in its wraps.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow.parquet.encryption as pe

from hermetic.assets.session import fresh_id
from hermetic.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermetic.integrations.parquet.keyring import Keyring

KEY_BITS = 256
_CACHE = timedelta(minutes=10)  # of clients, in a factory that serves one operation; keys are never in Arrow's cache


class Files:
    """Ids of files being written, for each thread: `wraps` keys make one file; None: all that is written is one file."""

    def __init__(self, wraps: int | None = None) -> None:
        self._wraps, self._only = wraps, fresh_id()
        self._here: dict[int, tuple[str, int]] = {}  # not threading.local: a thread of Arrow's is a new one to Python at every call

    def current(self) -> str:
        """Return the id of the file whose next key is being wrapped."""
        if self._wraps is None:
            return self._only
        thread = threading.get_ident()
        known = self._here.pop(thread) if thread in self._here else None
        file, left = (fresh_id(), self._wraps) if known is None else known
        if left > 1:
            self._here[thread] = (file, left - 1)
        return file

    def begin_anew(self) -> None:
        """Say that a key could not be wrapped, so that this thread's file will not be written."""
        if threading.get_ident() in self._here:
            del self._here[threading.get_ident()]


class ColumnKeyClient(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no types
    """Parquet's key service: master key ids are names of column keys."""

    def __init__(self, keyring: Keyring, files: Files) -> None:
        super().__init__()
        self._keyring, self._files = keyring, files

    def wrap_key(self, key_bytes: bytes, master_key_id: str) -> str:
        """Wrap a data key. Raises from hermetic.errors, which Arrow hands on unchanged."""
        try:
            return self._keyring.wrap(bytes(key_bytes), master_key_id, self._files.current())
        except BaseException:
            self._files.begin_anew()
            raise

    def unwrap_key(self, wrapped_key: str | bytes, master_key_id: str) -> bytes:
        """Unwrap a data key. Raises from hermetic.errors, which Arrow hands on unchanged."""
        try:
            text = wrapped_key if isinstance(wrapped_key, str) else bytes(wrapped_key).decode("ascii")
        except UnicodeDecodeError:
            raise FormatError("a wrapped Parquet key is no ASCII text") from None
        return self._keyring.unwrap(text, master_key_id)


def factory(keyring: Keyring, files: Files | None = None) -> Any:
    """Return a pyarrow CryptoFactory on a keyring."""
    chosen = files or Files()
    return pe.CryptoFactory(lambda _: ColumnKeyClient(keyring, chosen))


def connection() -> Any:
    """Return a KmsConnectionConfig that says nothing: there is one key service in a process."""
    return pe.KmsConnectionConfig()


def encryption(footer: str, under: Mapping[str, Sequence[str]], *, internal: bool) -> Any:
    """Return an EncryptionConfiguration. `under`: column key to paths of columns; `internal`: wrapped keys in the file itself."""
    return pe.EncryptionConfiguration(
        footer_key=footer,
        column_keys={name: list(paths) for name, paths in under.items()},
        plaintext_footer=False,
        double_wrapping=False,
        internal_key_material=internal,
        data_key_length_bits=KEY_BITS,
        cache_lifetime=_CACHE,
    )


def decryption() -> Any:
    """Return a DecryptionConfiguration."""
    return pe.DecryptionConfiguration(cache_lifetime=_CACHE)
