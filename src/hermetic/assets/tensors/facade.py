"""What a Workspace does with tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hermetic.assets.sealing import SealedVersion, Terms
    from hermetic.assets.session import Session
    from hermetic.assets.tensors.holding import HeldTensors
    from hermetic.assets.tensors.lazy import TensorFile
    from hermetic.formats.messages.base import Approval
    from hermetic.ids import DataClass, Purpose

DEFAULT_MEMBER = "model.safetensors"


class TensorMethods:
    """The part of Workspace that is about tensors."""

    session: Session

    def load_tensors(  # noqa: PLR0913 - how tensors are wanted, and what opening can be told, all by keyword
        self,
        ref: str,
        *,
        device: Any = "cpu",
        dtype: Any = None,
        names: Iterable[str] | None = None,
        framework: str = "torch",
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> dict[str, Any]:
        """Return the tensors of a version's safetensors files by name, decrypted in place: `framework` is "torch" or "numpy".

        All of them, or those in `names`, in that order. With several files: what the index says, else all of them together, else
        `member`. `dtype` and `device` convert one after the other, so that nothing exists twice. Tensors that lay next to each other
        share one memory, which is freed with the last of them.

        Raises NotFound for a tensor that is not there, FormatError for files whose tensors overlap, exceed them or contradict the
        index, Unsupported for a dtype that the framework lacks, UsageError, and what `open` and reads raise.
        """
        from hermetic.assets.tensors import loading  # noqa: PLC0415 - who loads no tensors does not wait for this

        form = loading.Form(framework, device, dtype)
        return loading.load(self.session, ref, form, names=names, member=member, purpose=purpose, run=run, approvals=tuple(approvals))

    def hold_tensors(  # noqa: PLR0913 - as load_tensors
        self,
        ref: str,
        *,
        device: Any = "cpu",
        dtype: Any = None,
        names: Iterable[str] | None = None,
        framework: str = "torch",
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> HeldTensors:
        """Load tensors as `load_tensors` does, and keep the lease: for a process that computes with them until it may not any more.

        `with h.hold_tensors(ref) as held:`, then for each piece of work `with held.use() as weights:`, which raises LeaseEnded once
        the lease is over and the weights are overwritten. Same errors as `load_tensors`.
        """
        from hermetic.assets.tensors import holding, loading  # noqa: PLC0415

        form = loading.Form(framework, device, dtype)
        return holding.HeldTensors(
            self.session, ref, form, names=names, member=member, purpose=purpose, run=run, approvals=tuple(approvals)
        )

    def open_tensors(
        self,
        ref: str,
        *,
        device: Any = "cpu",
        dtype: Any = None,
        framework: str = "torch",
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: Sequence[Approval] = (),
    ) -> TensorFile:
        """Return the tensors of a version to be loaded one by one or in part, without reading more than that.

        `with h.open_tensors(ref) as file: file.names; file.tensor(name); file.part(name)[10:20]`. Same errors as `load_tensors`.
        """
        from hermetic.assets.tensors import lazy, loading  # noqa: PLC0415

        form = loading.Form(framework, device, dtype)
        return lazy.TensorFile(self.session, ref, form, member=member, purpose=purpose, run=run, approvals=tuple(approvals))

    def seal_tensors(
        self,
        tensors: Mapping[str, Any],
        *,
        name: str,
        data_class: DataClass | str | None = None,
        owner: str | None = None,
        member: str = DEFAULT_MEMBER,
        metadata: Mapping[str, str] | None = None,
        files: Mapping[str, bytes] | None = None,
        terms: Terms | None = None,
    ) -> SealedVersion:
        """Publish a state dict of torch or numpy tensors as a new version, as safetensors; no plaintext file is made.

        `metadata` becomes the file's `__metadata__`; `files` are small files beside it, such as config.json. What else a version can
        be told stands in `terms`.
        Tensors that share memory are each written out. Raises UsageError for sparse, quantised and object tensors.
        """
        from hermetic.assets.tensors import saving  # noqa: PLC0415

        chosen = saving.terms_for(name, data_class, owner, terms)
        return saving.save(self.session, tensors, chosen, member=member, metadata=metadata, files=files)
