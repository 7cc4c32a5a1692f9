"""What a Workspace does between environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.assets import releases
from hermetic.assets.current import note_change
from hermetic.assets.session import word
from hermetic.ids import Environment, Purpose

if TYPE_CHECKING:
    from hermetic.assets.promoting import Promoted
    from hermetic.assets.session import Session


class PromotionMethods:
    """The part of Workspace that carries versions."""

    session: Session

    def promote(self, ref: str, to: Environment | str, *, reason: str, purpose: Purpose | str | None = None) -> Promoted:
        """Carry a version into the environment `to`, under its keys and into its store: same name, content, labels, limits of use.

        Raises ApprovalNeeded until those have agreed whom the policy wants; then the same call goes on. Raises PolicyDenied,
        KeyUnusable, SignatureError, IntegrityError; then nothing is there.
        """
        from hermetic.assets.promoting import promote  # noqa: PLC0415 - few programs promote

        chosen = word(Purpose, purpose) if purpose else None
        done = promote(self.session, releases.split_member(ref, None)[0], word(Environment, to), reason=reason, purpose=chosen)
        note_change()
        return done

    def rollback(self, name: str, environment: Environment | str, *, to: int | None = None, reason: str) -> Promoted:
        """Make the content of version `to` (default: the one before the latest) the latest version of an asset in an environment.

        It becomes a new version. Raises as `promote`; KeyUnusable for a version that was shredded, or whose key was revoked.
        """
        from hermetic.assets.promoting import roll_back  # noqa: PLC0415 - as above

        done = roll_back(self.session, name, word(Environment, environment), to=to, reason=reason)
        note_change()
        return done
