"""What is asked of a TPM 2.0, through the enhanced system API of tpm2-pytss.

    run(tcti, work)                 what `work` returns, given a Tpm that is connected:
        registers(selection)            values of registers
        seal(data, selection)           data that opens only while the registers are as they are now
        unseal(private, public, selection)

A TPM has room for three objects and a few sessions. The kernel's resource manager shares them out; without one, as with a program that
plays the TPM, another process may have filled it for a moment, and `run` tries again for two seconds.

The parent is the storage primary of the owner hierarchy (ECC P-256, AES-128), made anew each time from the TPM's own seed: nothing is
kept in the TPM, and clearing it loses the parent. Sealed objects open by policy only. What is sealed and unsealed crosses the bus
encrypted, in sessions salted with the parent's key. Every object and session is flushed, also when something fails.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, KeyServiceUnavailable
from hermetic.providers.registry import load_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from hermetic.providers.tpm_pcrs import Selection

T = TypeVar("T")

DEVICE: Final = "/dev/tpmrm0"
DEFAULT: Final = f"device:{DEVICE}"
SIMULATED: Final = ("swtpm", "mssim")
_TRANSPORTS: Final = ("device", "tabrmd", *SIMULATED)  # the loader would run any command (`cmd`), and load any library
_PARENT: Final = "ecc256:aes128cfb"
_CIPHER: Final = "aes128cfb"
_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds
_READ_AT_ONCE: Final = 8  # registers that one command returns


class BootChanged(Exception):
    """The registers are not as they were when it was sealed."""


class Foreign(Exception):
    """This TPM did not seal that."""


class Full(Exception):
    """The TPM has no room for another object or session."""


def library() -> ModuleType:
    """Return tpm2_pytss, whose C library is told to write nothing to stderr. Raises Unsupported."""
    os.environ.setdefault("TSS2_LOG", "all+NONE")
    return load_extra("tpm2_pytss", "tpm", name="tpm2-pytss")


def check_tcti(uri: str, value: str) -> str:
    """Return how the TPM is reached. Raises ConfigError for a way that could run a program or reach another machine."""
    name, _, rest = value.partition(":")
    far = name in SIMULATED and not {"host=127.0.0.1", "host=localhost"} & set(rest.split(","))
    if name not in _TRANSPORTS or far:
        raise ConfigError(
            f"config.yaml, providers, {uri}: tcti is no way to a TPM of this machine", hint=f"tcti: {DEFAULT}, or leave it out"
        )
    return value


def run(tcti: str, work: Callable[[Tpm], T]) -> T:
    """Return what `work` returns; it may run several times. Raises KeyServiceUnavailable, Unsupported, and what `work` raises."""
    for pause in _PAUSES:
        with contextlib.suppress(Full), connected(tcti) as tpm:
            return work(tpm)
        time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - so that two that wait do not meet again
    try:
        with connected(tcti) as tpm:
            return work(tpm)
    except Full:
        raise KeyServiceUnavailable("the TPM has no room: other programs fill it", hint="`tpm2_flushcontext -t` empties it") from None


@contextlib.contextmanager
def connected(tcti: str) -> Iterator[Tpm]:
    """Connect for the length of a block. Raises KeyServiceUnavailable, Unsupported; Full, which `run` meets."""
    tss, path = library(), Path(tcti.removeprefix("device:"))
    if tcti.startswith("device:") and not os.access(path, os.R_OK | os.W_OK):
        there = path.exists()
        raise KeyServiceUnavailable(
            f"the TPM {path} cannot be opened" if there else f"there is no TPM here ({path})",
            hint="join its group, often `tss`" if there else "is it switched on in the firmware?",
        )
    with _translated(tss), tss.ESAPI(tcti) as esapi, contextlib.ExitStack() as flushed:
        yield Tpm(tss, esapi, flushed)


@dataclass(frozen=True, slots=True, repr=False)
class Tpm:
    """A TPM while connected."""

    tss: Any
    esapi: Any
    flushed: contextlib.ExitStack

    def registers(self, selection: Selection) -> dict[int, bytes]:
        """Return the values. Raises KeyServiceUnavailable when the TPM has no such bank."""
        found: dict[int, bytes] = {}
        for start in range(0, len(selection.pcrs), _READ_AT_ONCE):
            part = selection.pcrs[start : start + _READ_AT_ONCE]
            _, _, digests = self.esapi.pcr_read(f"{selection.bank}:{','.join(map(str, part))}")
            if len(digests) != len(part):
                raise KeyServiceUnavailable(f"this TPM has no registers {selection}", hint="name another bank in the URI")
            found |= {pcr: bytes(digest) for pcr, digest in zip(part, digests, strict=True)}
        return found

    def seal(self, data: Secret, selection: Selection) -> tuple[bytes, bytes]:
        """Return private and public part of a sealed object."""
        tss, kinds = self.tss, self.tss.TPMA_OBJECT
        parent = self._parent()
        trial = self._session(parent, tss.TPM2_SE.TRIAL, 0)
        self.esapi.policy_pcr(trial, b"", str(selection))
        public = tss.TPM2B_PUBLIC.parse(
            "keyedhash",
            objectAttributes=kinds.FIXEDTPM | kinds.FIXEDPARENT | kinds.NODA,
            nameAlg="sha256",
            authPolicy=bytes(self.esapi.policy_get_digest(trial)),
        )
        sensitive = tss.TPM2B_SENSITIVE_CREATE(tss.TPMS_SENSITIVE_CREATE(data=tss.TPM2B_SENSITIVE_DATA(bytes(data.view()))))
        encrypted = self._session(parent, tss.TPM2_SE.HMAC, tss.TPMA_SESSION.DECRYPT)
        private, made, *_ = self.esapi.create(parent, sensitive, public, session2=encrypted)
        return private.marshal(), made.marshal()

    def unseal(self, private: bytes, public: bytes, selection: Selection | None) -> Secret:
        """Return what was sealed; without a selection the policy stays unsatisfied. Raises BootChanged, Foreign."""
        tss = self.tss
        parent = self._parent()
        handle = self._loaded(parent, private, public)
        session = self._session(parent, tss.TPM2_SE.POLICY, tss.TPMA_SESSION.ENCRYPT)
        try:
            if selection is not None:
                self.esapi.policy_pcr(session, b"", str(selection))
            return Secret(bytes(self.esapi.unseal(handle, session1=session)))
        except tss.TSS2_Exception as error:
            if error.error in {tss.TPM2_RC.POLICY_FAIL, tss.TPM2_RC.PCR_CHANGED}:
                raise BootChanged from None
            raise

    def _loaded(self, parent: Any, private: bytes, public: bytes) -> Any:
        tss = self.tss
        try:
            (first, used), (second, also) = tss.TPM2B_PRIVATE.unmarshal(private), tss.TPM2B_PUBLIC.unmarshal(public)
        except tss.TSS2_Exception as error:
            raise Foreign(str(error)) from None
        if (used, also) != (len(private), len(public)):
            raise Foreign("bytes behind a sealed object")
        try:
            return self._flush_later(self.esapi.load(parent, first, second))
        except tss.TSS2_Exception as error:
            if error.fmt1:  # something is wrong with what it was given, above all its integrity value
                raise Foreign(str(error)) from None
            raise

    def _parent(self) -> Any:
        kinds = self.tss.TPMA_OBJECT
        public = self.tss.TPM2B_PUBLIC.parse(
            _PARENT,
            objectAttributes=kinds.FIXEDTPM | kinds.FIXEDPARENT | kinds.SENSITIVEDATAORIGIN | kinds.USERWITHAUTH
            | kinds.NODA | kinds.RESTRICTED | kinds.DECRYPT,
            nameAlg="sha256",
        )  # fmt: skip
        handle = self.esapi.create_primary(self.tss.TPM2B_SENSITIVE_CREATE(), public)[0]
        return self._flush_later(handle)

    def _session(self, parent: Any, kind: Any, attributes: Any) -> Any:
        tr = self.tss.ESYS_TR
        session = self.esapi.start_auth_session(parent, tr.NONE, kind, _CIPHER, self.tss.TPM2_ALG.SHA256)
        self._flush_later(session)
        self.esapi.trsess_set_attributes(session, attributes | self.tss.TPMA_SESSION.CONTINUESESSION)
        return session

    def _flush_later(self, handle: Any) -> Any:
        self.flushed.callback(self._flush, handle)
        return handle

    def _flush(self, handle: Any) -> None:
        with contextlib.suppress(self.tss.TSS2_Exception):  # a session that failed may be gone
            self.esapi.flush_context(handle)


@contextlib.contextmanager
def _translated(tss: Any) -> Iterator[None]:
    """Turn what the library raises into our errors."""
    codes = tss.TPM2_RC
    meanings = {
        codes.LOCKOUT: "it is locked after wrong authorisations",
        codes.AUTH_FAIL: "its owner hierarchy has a password",
        codes.BAD_AUTH: "its owner hierarchy has a password",
    }
    try:
        yield
    except tss.TSS2_Exception as error:
        if error.error in {codes.OBJECT_MEMORY, codes.SESSION_MEMORY, codes.OBJECT_HANDLES, codes.SESSION_HANDLES, codes.RETRY}:
            raise Full from None
        told = meanings.get(error.error, str(error))
        raise KeyServiceUnavailable(
            f"the TPM cannot be used: {told}", hint="`tpm2_getcap properties-variable` says how it stands"
        ) from None
    except (RuntimeError, ValueError, TypeError) as error:  # of tpm2-pytss itself
        raise KeyServiceUnavailable(f"the TPM cannot be used: {type(error).__name__}: {error}", hint="is `tcti` right?") from None
