"""Weights that a process computes with for long, under a lease that is confirmed whenever they are used.

    with h.hold_tensors("model/risk", purpose="serve") as held:
        for request in requests:
            with held.use() as weights:
                answer(score(weights, request))

`load_tensors` gives its lease back at once: what it returned stays until it is dropped, whatever becomes of the key. Here the lease
lives as long as the handle, and once it has ended:

1. `use` and `check` raise, after at most `lease: check` of the class with custody within reach and `offline` without.
2. The weights are overwritten, not before the last piece of work that runs in `use` is done: no answer is computed on half of them.
   They are overwritten with ones, which every format of floats reads as not-a-number, so that work outside of `use` yields no
   answer that looks right.
3. Copies that others made (`load_state_dict` without `assign=True`, another device) are theirs; nothing recalls them.

Only who asks is told: a process that does nothing keeps its weights until its next `use` or `check`.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from hermetic.assets.releases import release, split_member
from hermetic.assets.tensors.frames import frame
from hermetic.assets.tensors.loading import Form, load_chosen
from hermetic.assets.tensors.weights import weights_of
from hermetic.errors import HermeticError, LeaseEnded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from hermetic.assets.session import Session
    from hermetic.formats.messages.base import Approval
    from hermetic.ids import Purpose


class HeldTensors:
    """See the module's text. Threads may share it; a forked child loads its own."""

    def __init__(
        self,
        session: Session,
        ref: str,
        form: Form,
        *,
        names: Iterable[str] | None = None,
        member: str | None = None,
        purpose: Purpose | str | None = None,
        run: str | None = None,
        approvals: tuple[Approval, ...] = (),
    ) -> None:
        self._maker = frame(form.framework)
        bare, chosen = split_member(ref, member)
        with ExitStack() as undo:
            (self._version,) = release(session, (bare,), purpose=purpose, run=run, approvals=approvals)
            undo.callback(self._version.end)
            weights = weights_of(self._version, chosen)
            with weights.stack:
                self._tensors = load_chosen(self._maker, weights.chosen(names), form)
            undo.pop_all()
        self._pid, self._lock = os.getpid(), threading.Lock()
        self._inside, self._over = 0, False

    @property
    def ref(self) -> str:
        """`kind/name@number` of what was loaded."""
        return self._version.ref

    @contextmanager
    def use(self) -> Iterator[Mapping[str, Any]]:
        """Lend the tensors by name for one piece of work, after the lease was confirmed where it is time. Raises LeaseEnded."""
        self._enter()
        try:
            yield MappingProxyType(self._tensors)
        finally:
            self._leave()

    def check(self) -> None:
        """Confirm the lease where it is time, and overwrite the weights if it has ended. Raises LeaseEnded."""
        with self.use():
            pass

    def close(self) -> None:
        """Overwrite the weights and give the lease back; a second call does nothing."""
        if os.getpid() == self._pid:
            self._end()
            self._version.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<HeldTensors {self.ref}{' over' if self._over else ''}>"

    def _enter(self) -> None:
        if os.getpid() != self._pid:
            raise LeaseEnded("these weights were leased to the parent process", hint="load them again after fork")
        try:
            self._version.leased.guard()
        except HermeticError:
            self._end()
            raise
        with self._lock:
            if self._over:  # another thread was told so in between
                raise LeaseEnded("the weights were overwritten: their lease has ended", hint="load them again")
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            self._overwrite_if_over()

    def _end(self) -> None:
        with self._lock:
            self._over = True
            self._overwrite_if_over()

    def _overwrite_if_over(self) -> None:
        if self._over and not self._inside:
            tensors, self._tensors = self._tensors, {}
            for tensor in tensors.values():
                self._maker.overwrite(tensor)
