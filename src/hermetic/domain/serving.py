"""Custody for other users of this machine (enforcement level `separated`): the embedded port, asked in their names.

Custody runs as a user of its own, in a project of its own that only says which domain it is; root, database and log are that user's.
What a caller may do is what the policy in force gives to the user that the kernel vouches for.

Two users are never answered. Custody's own: who can open the root is not restrained by asking custody, and what is on record as
`separated` has to be. And, where custody runs in a user namespace that lacks some users of the machine, the one number by which the
kernel names all of those (overflowuid, as a rule 65534): it says that somebody asks, not who.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hermetic.domain.begun import Note
from hermetic.domain.connect import keep
from hermetic.domain.local import LocalPort
from hermetic.domain.notifying import DeliveryThread
from hermetic.errors import ConfigError, Denied, NotAuthenticated, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from hermetic.crypto.secret import Secret
    from hermetic.domain.connect import Connection
    from hermetic.domain.login_service import LoginCustody
    from hermetic.domain.service import ServiceCustody
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.measures import Measured


USERS: Final = 2**32 - 1  # user ids that there are


class SeparatedCustody:
    """Custody as a service of this machine answers with. Thread safe. Close it at the end."""

    def __init__(self, start: Path, *, ask_passphrase: Callable[..., Secret] | None = None) -> None:
        """Open custody of the project around `start`. Raises as `connect.keep`."""
        self._connection = keep(start, ask_passphrase=ask_passphrase)
        port = self._connection.port
        if not isinstance(port, LocalPort):
            self._connection.close()
            raise Unsupported("custody runs elsewhere", hint="unset HERMETIC_URL")
        self._port = port
        self.domain = self._connection.project.domain
        self._own, self._nobody = os.geteuid(), nameless_user()
        settings = self._connection.home.domain_config(self.domain)
        self._note = Note(settings, self._connection.config)  # which custody's own user goes by, who works beside
        self.notifier = self._connection.notifier()
        self._delivery: DeliveryThread | None = None
        if self.notifier.configured:
            self._delivery = DeliveryThread(self.notifier, self._port.outbox.wake)
            self._delivery.start()

    def ask_for(self, user: int, request: Request[Any]) -> object:
        """Answer a request of the operating-system user `user`. Raises HermeticError."""
        if user == self._own:
            raise Denied("custody's own user is not kept apart from it", hint="unset HERMETIC_URL, or work as another user")
        if user == self._nobody:
            raise NotAuthenticated("you are no user of the user namespace that custody runs in", hint="run custody outside of it")
        return self._port.ask_for(user, request)

    def service(self) -> ServiceCustody:
        """Return the same custody as callers of other machines have it, by their certificates."""
        from hermetic.domain.service import ServiceCustody  # noqa: PLC0415 - certificates, which the users of this machine do without

        return ServiceCustody(self._port)

    def logins(self, service: ServiceCustody) -> LoginCustody:
        """Return what exchanges tokens. Raises ConfigError where no issuer is trusted, Unsupported."""
        if self._port.custodian.tokens is None:
            raise ConfigError("no issuer of tokens is trusted", hint="`oidc:` in this user's config.yaml")
        try:
            import joserfc  # noqa: F401, PLC0415 - missed now, and not at the first login
        except ImportError as error:
            raise Unsupported(f"tokens need {error.name}", hint="pip install 'hermetic[oidc]'") from None
        from hermetic.domain.login_service import LoginCustody  # noqa: PLC0415

        return LoginCustody(self._port, service)

    @property
    def connection(self) -> Connection:
        """The domain as custody's own user has it, for what a service looks at itself: the policy is asked about that user too."""
        return self._connection

    def measured(self) -> Measured:
        """Return figures for metrics. Raises HermeticError."""
        return self._port.measured()

    def knows(self, user: int) -> bool:
        """Whether the domain knows the operating-system user `user`. Raises RowTampered."""
        return user == self._own or (user != self._nobody and self._port.knows(user))

    def close(self) -> None:
        """Close custody; what was not delivered waits."""
        if self._delivery is not None:
            self._delivery.stop()
        self._note.remove()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def nameless_user(proc: Path = Path("/proc")) -> int | None:
    """Return the number that stands for every user that this process's user namespace lacks, None when it lacks none.

    What cannot be read counts as lacking some. (user_namespaces(7))
    """
    try:
        lines = (proc / "self" / "uid_map").read_text("ascii").splitlines()
        if sum(int(line.split()[2]) for line in lines) >= USERS:
            return None
        return int((proc / "sys" / "kernel" / "overflowuid").read_text("ascii"))
    except (OSError, ValueError, IndexError):
        return 65534
