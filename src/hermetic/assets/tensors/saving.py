"""A state dict as a new version: sealed tensor by tensor from its own memory, never in a plaintext file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hermetic.assets.sealing import Terms, begin, summary
from hermetic.assets.tensors.frames import frame_of
from hermetic.errors import UsageError
from hermetic.formats.safetensors import BITS, encode_head
from hermetic.ids import check_member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.assets.drafts import DraftVersion
    from hermetic.assets.sealing import SealedVersion
    from hermetic.assets.session import Session
    from hermetic.ids import DataClass


def terms_for(name: str, data_class: DataClass | str | None, owner: str | None, terms: Terms | None) -> Terms:
    """Return `terms` for a version called `name`, with class and owner where they are given."""
    base = terms or Terms()
    return replace(base, name=name, data_class=data_class or base.data_class, owner=owner or base.owner)


def save(
    session: Session,
    tensors: Mapping[str, Any],
    terms: Terms,
    *,
    member: str,
    metadata: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> SealedVersion:
    """Publish tensors, and small files beside them, as a new version. See Workspace.seal_tensors."""
    others = {check_member(path): content for path, content in (files or {}).items()}
    if check_member(member) in others:
        raise UsageError(f"{member!r} is the member of the tensors", hint="give the other file another name")
    order = _order(tensors)
    head = encode_head(((name, dtype, shape) for name, dtype, shape in order), metadata)
    with begin(session, terms) as draft:
        _write(draft, member, head, [tensors[name] for name, _, _ in order])
        for path, content in others.items():
            _write(draft, path, content, [])
        return summary(draft, draft.publish(labels=terms.labels), ())


def _order(tensors: Mapping[str, Any]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return (name, dtype, shape), the widest elements first, so that all of them lie aligned; then by name."""
    if not tensors:
        raise UsageError("there are no tensors to seal")
    described = []
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise UsageError("tensors are named by text")
        described.append((name, *frame_of(tensor, name).described(tensor)))
    return sorted(described, key=lambda item: (-BITS[item[1]], item[0]))


def _write(draft: DraftVersion, member: str, head: bytes, tensors: list[Any]) -> None:
    writer = draft.add_member(member)
    try:
        writer.write(head)
        for tensor in tensors:
            writer.write(frame_of(tensor).raw(tensor))
    except BaseException:
        writer.abort()
        raise
    writer.finish()
