"""`tpm:sha256:7`: a random root, sealed by the TPM of this machine to its boot state, extra `tpm`.

The root file `root-<root id>.json` in the custody home holds the sealed object; it opens in this machine's TPM only, and only while
the registers (PCRs) that the URI names are as they were when it was sealed. A stolen disk opens nothing, nor does this machine started
from another system. Whoever is this user on the machine as it should be needs nothing else: a TPM asks for no passphrase here.

The root passes through this process, as with other local roots: unsealed when it is needed, kept for a minute, wiped.

    {bank, domain, format: "hermetic/tpm-root/v1", pcrs: [{pcr, value}, ...], private, public, root}      canonical JSON
    sealed    root (32) || domain id (26 ASCII) || root id (26 ASCII)

`pcrs` says how the registers were, for telling which changed; the TPM does not rely on it. Settings in config.yaml: `tcti`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, KeyServiceUnavailable
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.fields import Fields
from hermetic.formats.findings import Finding
from hermetic.keys import documents
from hermetic.keys.provider import ProviderState, ProviderStatus
from hermetic.providers import private_file, settings
from hermetic.providers.local_root import FILE_LIMIT, ROOT, LocalRoot, new_root, read_root_file, remove_root_file, root_path
from hermetic.providers.tpm_device import DEFAULT, SIMULATED, BootChanged, Foreign, check_tcti, run
from hermetic.providers.tpm_pcrs import BANKS, LAST, named, selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider
    from hermetic.providers.conformance import Probe, Protection
    from hermetic.providers.place import Asked, Place
    from hermetic.providers.tpm_device import Tpm

FORMAT: Final = "hermetic/tpm-root/v1"
FINDING: Final = "simulated-tpm"
KEEP_MS: Final = 60_000  # how long a process keeps the root, since unsealing takes a device half a second
_KNOWN: Final = {"tcti": f"how the TPM is reached, if not {DEFAULT}"}
_FIELDS: Final = {"bank", "domain", "format", "pcrs", "private", "public", "root"}
_PART: Final = 1024  # bytes of each part of the sealed object, at most


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the root file holds."""

    registers: dict[int, bytes]
    private: bytes = field(repr=False)
    public: bytes = field(repr=False)


class TpmRoot(LocalRoot):
    """A root that the TPM gives out while the machine is as it was."""

    def __init__(self, uri: str, place: Place) -> None:
        """Raises UsageError (URI), ConfigError (settings); touches no TPM."""
        super().__init__(uri, place)
        self.selection = selection(uri)
        self.tcti = check_tcti(uri, settings.read(uri, place, _KNOWN).get("tcti", DEFAULT))
        self._lock = threading.Lock()
        self._kept: Secret | None = None
        self._until_ms = 0

    def load_root(self) -> Secret:
        """Return the root. Raises KeyServiceUnavailable (no TPM, another boot state, no file), IntegrityError, Unsupported."""
        with self._lock:
            if self._kept is None or not 0 <= self._until_ms - self.place.boot() <= KEEP_MS:
                self._kept = None
                self._kept = self._unsealed()
                self._until_ms = self.place.boot() + KEEP_MS
            return self._kept

    def lock(self) -> bool:
        """Forget the copy of this process; returns whether there was one."""
        with self._lock:
            kept, self._kept = self._kept, None
        return kept is not None

    def status(self) -> ProviderStatus:
        """Compare the registers with the root file; unseals nothing."""
        state, detail = ProviderState.READY, f"sealed by the TPM to {self.selection}"
        try:
            sealed = self.sealed()
            changed = self._changed(sealed, run(self.tcti, lambda tpm: tpm.registers(self.selection)))
            if changed:
                state, detail = ProviderState.UNREACHABLE, self._other_boot(changed).message
        except HermeticError as error:
            state, detail = ProviderState.UNREACHABLE, error.message
        simulated = self.tcti.startswith(SIMULATED)
        return ProviderStatus(self.uri, self.root_id, state, detail, findings=(self._finding(),) if simulated else ())

    def sealed(self) -> Sealed:
        """Read the root file. Raises KeyServiceUnavailable, IntegrityError, FormatError (of another root, or other registers)."""
        document = documents.parse(read_root_file(self.place), FORMAT, _FIELDS, limit=FILE_LIMIT)
        if (document.identifier("domain"), document.identifier("root")) != (self.place.domain, self.root_id):
            raise FormatError(f"{root_path(self.place)} is the file of another root")
        length = BANKS[document.constant("bank", self.selection.bank)]
        registers = dict(_register(item, length) for item in document.items("pcrs", limit=LAST + 1))
        if tuple(registers) != self.selection.pcrs:
            raise FormatError(f"{root_path(self.place)} is sealed to other registers than {self.uri} names")
        private, public = (from_base64url(document.text(name, limit=_PART * 4 // 3)) for name in ("private", "public"))
        return Sealed(registers, private, public)

    def keep(self, root: Secret, *, replace: bool) -> None:
        """Seal a root to the registers as they are now, write the root file, and try it. Raises Conflict, StorageError, and so on."""
        registers, private, public = run(self.tcti, lambda tpm: self._tried(tpm, Secret(bytes(root.view()) + self._subject())))
        pcrs: list[canonical.Json] = [{"pcr": pcr, "value": to_base64url(value)} for pcr, value in registers.items()]
        document: canonical.JsonValue = {
            "bank": self.selection.bank,
            "domain": self.place.domain,
            "format": FORMAT,
            "pcrs": pcrs,
            "private": to_base64url(private),
            "public": to_base64url(public),
            "root": self.root_id,
        }
        private_file.write(root_path(self.place), canonical.encode(document), replace=replace)

    def _tried(self, tpm: Tpm, data: Secret) -> tuple[dict[int, bytes], bytes, bytes]:
        """Seal, and see that it opens while the registers are as they were before."""
        registers = tpm.registers(self.selection)
        private, public = tpm.seal(data, self.selection)
        try:
            good = tpm.registers(self.selection) == registers and tpm.unseal(private, public, self.selection).same_as(data)
        except (BootChanged, Foreign):
            good = False
        if not good:
            raise KeyServiceUnavailable(
                "the TPM does not give back what it sealed", hint="did the boot state change meanwhile? try again"
            )
        return registers, private, public

    def _unsealed(self) -> Secret:
        sealed = self.sealed()
        try:
            data = run(self.tcti, lambda tpm: self._opened(tpm, sealed))
        except Foreign:
            raise KeyServiceUnavailable(
                f"this TPM did not seal root {self.root_id}: another machine, a TPM that was cleared, or a changed root file",
                hint="open the domain through another root, or `hermetic key recover`; then make a root here anew",
            ) from None
        if len(data) != ROOT + len(self._subject()) or bytes(data.view()[ROOT:]) != self._subject():
            raise FormatError(f"{root_path(self.place)} holds what was sealed for another root")
        return Secret(data.view()[:ROOT])

    def _opened(self, tpm: Tpm, sealed: Sealed) -> Secret:
        try:
            return tpm.unseal(sealed.private, sealed.public, self.selection)
        except BootChanged:
            raise self._other_boot(self._changed(sealed, tpm.registers(self.selection))) from None

    def _changed(self, sealed: Sealed, now: dict[int, bytes]) -> tuple[int, ...]:
        return tuple(pcr for pcr, value in sealed.registers.items() if now[pcr] != value)

    def _other_boot(self, changed: tuple[int, ...]) -> KeyServiceUnavailable:
        which = f"changed: {named(changed)}" if changed else "which register changed cannot be told"
        return KeyServiceUnavailable(
            f"the boot state is not the one that root {self.root_id} was sealed to; {which}",
            hint="if that was you (an update), open the domain through another root or `hermetic key recover`, and make a root"
            " here anew; if not, find out who it was",
        )

    def _subject(self) -> bytes:
        return f"{self.place.domain}{self.root_id}".encode("ascii")

    def _finding(self) -> Finding:
        return Finding(
            code=FINDING,
            severity="high",
            subject=self.root_id,
            message="the TPM is a program: whoever has its state has the root",
            remedy="for anything but trying out, leave `tcti` out and use the TPM of the machine",
        )


def open_(uri: str, place: Place) -> TpmRoot:
    """Return the provider of an existing root; touches the TPM when it is used."""
    return TpmRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> TpmRoot:
    """Seal a root to the boot state of now. Raises Conflict, StorageError, KeyServiceUnavailable, Unsupported."""
    provider = TpmRoot(uri, place)
    provider.keep(new_root(asked), replace=False)
    return provider


def reseal(provider: TpmRoot, root: Secret | None = None) -> None:
    """Seal to the boot state of now: the root that still opens, or one that was recovered. Wraps stay. Raises as `create`."""
    provider.keep(provider.load_root() if root is None else root, replace=True)
    provider.lock()


def remove(uri: str, place: Place) -> str:
    """Wipe the root file of a dropped root; the TPM itself keeps nothing."""
    TpmRoot(uri, place)
    return remove_root_file(place)


def _register(item: canonical.Json, length: int) -> tuple[int, bytes]:
    entry = Fields(item, "register in a root file", {"pcr", "value"})
    return entry.integer("pcr", minimum=0, maximum=LAST), entry.binary("value", length=length)


def probes(provider: Provider) -> Iterator[Probe]:
    """Try what it enforces (`conformance`)."""
    from hermetic.providers import tpm_probes  # noqa: PLC0415 - for the report only

    return tpm_probes.probes(provider)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms (`conformance`)."""
    from hermetic.providers import tpm_probes  # noqa: PLC0415 - for the report only

    return tpm_probes.protections(provider)


def neighbour(provider: Provider) -> Provider | None:
    """Return another root of the same id, in memory (`conformance`)."""
    from hermetic.providers import local  # noqa: PLC0415 - for the report only

    return local.neighbour(provider)
