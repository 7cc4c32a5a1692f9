"""A new version as a writable binary file: published at clean exit of the block, abandoned otherwise."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from hermetic.assets.sealing import Terms, begin, summary
from hermetic.errors import UsageError
from hermetic.ids import check_member

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session


class AssetWriter(io.RawIOBase):
    """One member, one version. Nothing is published by `close` alone: only the end of the block says that the content is whole."""

    def __init__(self, session: Session, name: str, member: str, terms: Terms) -> None:
        super().__init__()
        self._session, self._terms, self._member = session, replace(terms, name=name), check_member(member)
        self._stack: ExitStack | None = None
        self._result: SealedVersion | None = None

    @property
    def version(self) -> SealedVersion:
        """What was published. Raises UsageError before the block has ended well."""
        if self._result is None:
            raise UsageError("nothing was published", hint="write inside `with h.writer(...)`")
        return self._result

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._draft = stack.enter_context(begin(self._session, self._terms))
            self._writer = self._draft.add_member(self._member)
            stack.callback(self._writer.abort)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        stack, self._stack = self._stack, None
        with stack or ExitStack():
            super().close()
            if kind is None:
                self._writer.finish()
                self._result = summary(self._draft, self._draft.publish(labels=self._terms.labels), ())

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Seal more bytes; all of `data` is taken. Raises LeaseEnded, StorageError."""
        if self._stack is None or self.closed:
            raise UsageError("this writer works inside its block", hint="write `with h.writer(...) as file:`")
        return self._writer.write(data)

    def tell(self) -> int:
        """Return the bytes written so far."""
        return self._writer.length
