"""A SoftHSM of a test's own: its configuration and its token lie in a folder of the test, and the module is told so by SOFTHSM2_CONF.

SoftHSM reads its configuration in C_Initialize, so a module that is loaded already is made to read it again.
"""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from hermetic.ids import id_from_bytes
from hermetic.providers.pkcs11_module import module_at
from hermetic.providers.place import Place

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
DOMAIN = id_from_bytes(bytes(range(16)))
NO_GCM = "-CKM_AES_GCM,CKM_AES_GCM"  # twice, since SoftHSM 2.6.1 leaves out the first of such a list


@dataclass(frozen=True)
class SoftHsm:
    """A token: where its files lie, how it is called, and where its PIN is kept."""

    folder: Path
    label: str
    pin: str

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def settings(self) -> dict[str, str]:
        return {"module": MODULE, "pin_file": str(self.pin_file)}

    def uri(self, label: str = "hermetic") -> str:
        return f"pkcs11:token={quote(self.label)};object={quote(label)}"

    def place(self, home: Path, root_id: str | None = None) -> Place:
        return Place(home, DOMAIN, root_id or id_from_bytes(secrets.token_bytes(16)), settings=self.settings)

    def write_pin(self, pin: str) -> None:
        self.pin_file.unlink(missing_ok=True)
        self.pin_file.touch(mode=0o600)
        self.pin_file.write_text(pin + "\n")


def make(folder: Path, monkeypatch, mechanisms: str = "ALL") -> SoftHsm:
    """Initialise a token, and turn the module to it."""
    folder.mkdir(mode=0o700)
    hsm = SoftHsm(folder, f"tëam-{secrets.token_hex(4)}", secrets.token_urlsafe(9))
    hsm.tokens.mkdir(mode=0o700)
    conf = folder / "softhsm2.conf"
    conf.write_text(
        f"directories.tokendir = {hsm.tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.mechanisms = {mechanisms}\n"
    )
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    hsm.write_pin(hsm.pin)
    words = ["--init-token", "--free", "--label", hsm.label, "--so-pin", secrets.token_hex(8), "--pin", hsm.pin]
    subprocess.run(["softhsm2-util", *words], check=True, capture_output=True)
    turn()
    return hsm


def turn() -> None:
    """Let the module read its configuration again."""
    module = module_at(MODULE, "tests")
    module.restart(module.generation)
