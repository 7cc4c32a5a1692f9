"""A token and its sessions.

`Token.run(work)` gives `work` a session in which the user is logged in. At most `SESSIONS` are open at once; a thread waits for one. A
session in which anything failed is not used again. When session, slot or token went away, everything is opened anew and `work` runs
again, so `work` has to be such that a second run does no harm. The pauses are for SoftHSM, which does not see a token that another
process is writing to.

Logging in: by one thread of one process at a time, with the PIN of the file; a wrong one is never tried again (`pkcs11_pin`), and
where the token says that one try is left, nobody tries but a person with the token's own tool.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from hermetic.errors import IntegrityError, KeyServiceUnavailable, Locked
from hermetic.providers import settings
from hermetic.providers.pkcs11_errors import ALREADY_LOGGED_IN, GONE, PIN_EXPIRED, PIN_LOCKED, PIN_REFUSED, Gone, meaning
from hermetic.providers.pkcs11_module import library, module_at
from hermetic.providers.pkcs11_pin import Pin
from hermetic.providers.pkcs11_uri import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.providers.place import Place

T = TypeVar("T")

SESSIONS: Final = 4  # open at once
_PAUSES: Final = (0.0, 0.1, 0.3)  # seconds, before everything is opened anew
KNOWN: Final = {
    "module": "absolute path of the token's PKCS#11 module, such as /usr/lib/softhsm/libsofthsm2.so",
    "pin_file": "absolute path of a file of mode 0600 with the user PIN",
}


class Token:
    """The token that a URI and its settings name; nothing is touched before it is used."""

    def __init__(self, uri: str, place: Place) -> None:
        """Raises UsageError (URI), ConfigError (settings)."""
        given = settings.read(uri, place, KNOWN, required=("module", "pin_file"))
        self.wanted = parse(uri)
        self.module = module_at(given["module"], uri)
        self.pin = Pin(uri, place, given["pin_file"])
        self._pool = _Pool(self.module.generation)

    @property
    def name(self) -> str:
        """The label, for messages."""
        return repr(self.wanted.token)

    def run(self, work: Callable[[Any], T], *, write: bool = False) -> T:
        """Return what `work` returns. Raises Locked, KeyServiceUnavailable, IntegrityError, Unsupported, and what `work` raises."""
        for pause in _PAUSES:
            generation = self.module.generation
            try:
                return self._once(work, write=write)
            except Gone:
                time.sleep(pause)
                self.module.restart(generation)
        try:
            return self._once(work, write=write)
        except Gone as gone:
            raise gone.error from None

    def _once(self, work: Callable[[Any], T], *, write: bool) -> T:
        failures = library().PyKCS11Error
        try:
            with self.module.entered() as lib, self._session(lib, write=write) as session:
                return work(session)
        except failures as error:
            told = meaning(error.value, str(error), self.name)
            if error.value in GONE:
                raise Gone(told) from None
            raise told from None

    @contextlib.contextmanager
    def _session(self, lib: Any, *, write: bool) -> Iterator[Any]:
        pool = self._current_pool()
        with pool.bound:
            session = pool.idle.pop() if pool.idle and not write else self._opened(lib, write=write)
            try:
                yield session
            except BaseException:
                self._close(session)
                raise
            if write:
                self._close(session)
            else:
                pool.idle.append(session)

    def _current_pool(self) -> _Pool:
        with self.module.guarded():
            if self._pool.generation != self.module.generation:  # what the old one holds is void: dropped, never closed
                self._pool = _Pool(self.module.generation)
            return self._pool

    def _opened(self, lib: Any, *, write: bool) -> Any:
        slot = self.slot(lib)
        session = lib.openSession(slot, library().CKF_RW_SESSION if write else 0)
        try:
            with self.module.guarded():
                self._log_in(lib, slot, session)
        except BaseException:
            self._close(session)
            raise
        return session

    def _close(self, session: Any) -> None:
        with contextlib.suppress(library().PyKCS11Error):
            session.closeSession()

    def slot(self, lib: Any) -> int:
        """Return the slot of the one token that fits. Raises Gone (KeyServiceUnavailable), IntegrityError for several."""
        found = [slot for slot in lib.getSlotList(tokenPresent=True) if self._fits(lib, slot)]
        if len(found) > 1:
            raise IntegrityError(f"there are {len(found)} tokens {self.name}", hint="add ;serial=NUMBER to the provider's URI")
        if not found:
            raise Gone(KeyServiceUnavailable(f"there is no token {self.name}", hint="is it plugged in, and its service running?"))
        return int(found[0])

    def _fits(self, lib: Any, slot: int) -> bool:
        info = lib.getTokenInfo(slot)
        wanted = self.wanted
        return bool(text(info.label) == wanted.token and (wanted.serial is None or text(info.serialNumber) == wanted.serial))

    def _log_in(self, lib: Any, slot: int, session: Any) -> None:
        pykcs11 = library()
        if session.getSessionInfo().state in {pykcs11.CKS_RO_USER_FUNCTIONS, pykcs11.CKS_RW_USER_FUNCTIONS}:
            return
        if not lib.getTokenInfo(slot).flags & pykcs11.CKF_LOGIN_REQUIRED:
            return
        with self.pin.alone():
            self._check_tries(lib.getTokenInfo(slot).flags)
            pin = self.pin.read()
            try:
                session.login(bytes(pin.view()))
            except pykcs11.PyKCS11Error as error:
                if error.value not in ALREADY_LOGGED_IN:
                    self._login_failed(error, lib.getTokenInfo(slot).flags)
            else:
                self.pin.forget()

    def _check_tries(self, flags: int) -> None:
        """Refuse to log in where a wrong PIN would lock the token, or has locked it."""
        pykcs11 = library()
        if flags & pykcs11.CKF_USER_PIN_LOCKED:
            raise self._locked()
        if flags & pykcs11.CKF_USER_PIN_FINAL_TRY:
            raise Locked(
                f"token {self.name} says that one try of its PIN is left: it is not used for this",
                hint="log in once with the token's own tool (such as `pkcs11-tool --login`), which gives all tries back",
            )
        if flags & pykcs11.CKF_USER_PIN_TO_BE_CHANGED:
            raise Locked(f"the PIN of token {self.name} has to be changed first", hint="change it with the token's own tool")

    def _login_failed(self, error: Any, flags: int) -> NoReturn:
        if error.value == PIN_LOCKED:
            raise self._locked() from None
        if error.value not in PIN_REFUSED and error.value != PIN_EXPIRED:
            raise error
        self.pin.refused()
        raise Locked(
            f"token {self.name} refuses the PIN in {self.pin.path} ({_tries(flags)}); it is not tried again",
            hint=f"write the right PIN into {self.pin.path}",
        ) from None

    def _locked(self) -> Locked:
        return Locked(f"the PIN of token {self.name} is locked", hint="its security officer sets a new one with the token's own tool")


class _Pool:
    """Sessions of one generation."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.bound = threading.BoundedSemaphore(SESSIONS)
        self.idle: list[Any] = []


def text(field: Any) -> str:
    """Return a blank-padded field of a token's information as text."""
    raw = field.decode("utf-8", "replace") if isinstance(field, bytes) else str(field)
    return raw.rstrip(" \0")


def _tries(flags: int) -> str:
    """Say what the token tells of the tries that are left; it never tells a number."""
    pykcs11 = library()
    if flags & pykcs11.CKF_USER_PIN_LOCKED:
        return "it is locked now"
    if flags & pykcs11.CKF_USER_PIN_FINAL_TRY:
        return "one try is left"
    if flags & pykcs11.CKF_USER_PIN_COUNT_LOW:
        return "it counts wrong tries, and more than one is left"
    return "it does not say how many tries are left"
