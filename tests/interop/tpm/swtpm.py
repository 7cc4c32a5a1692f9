"""A software TPM of a test's own: its state lies in a folder of the test, it listens on loopback, and is stopped by its process id."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_START = 30  # seconds that it may take to listen


class SoftTpm:
    """A TPM that can be stopped and started again with its state, and whose registers can be extended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        folder.mkdir(mode=0o700)
        self.port = _two_ports()

    @property
    def tcti(self) -> str:
        return f"swtpm:host=127.0.0.1,port={self.port}"

    @property
    def settings(self) -> dict[str, str]:
        return {"tcti": self.tcti}

    def start(self) -> None:
        """Start it, as a machine that was switched on; registers are zero again."""
        words = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.folder}"]
        words += ["--ctrl", f"type=tcp,port={self.port + 1},bindaddr=127.0.0.1"]
        words += ["--server", f"type=tcp,port={self.port},bindaddr=127.0.0.1,disconnect=false"]
        words += ["--flags", "not-need-init,startup-clear"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._listening()

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self.process.communicate(timeout=_START)
            self.process = None

    def extend(self, pcr: int, data: bytes = b"x" * 32) -> None:
        """Measure something into a register."""
        with self.talking() as esapi:
            from tpm2_pytss import ESYS_TR, TPM2_ALG, TPML_DIGEST_VALUES, TPMT_HA, TPMU_HA

            digests = [
                TPMT_HA(hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=data)),
                TPMT_HA(hashAlg=TPM2_ALG.SHA384, digest=TPMU_HA(sha384=data + data[:16])),
            ]
            esapi.pcr_extend(ESYS_TR(pcr), TPML_DIGEST_VALUES(digests))

    def objects(self) -> tuple[int, ...]:
        """Return the handles of objects and sessions that lie in it."""
        with self.talking() as esapi:
            from tpm2_pytss import TPM2_CAP, TPM2_HC

            found = []
            for first in (TPM2_HC.TRANSIENT_FIRST, TPM2_HC.LOADED_SESSION_FIRST):
                _, data = esapi.get_capability(TPM2_CAP.HANDLES, first, 64)
                found += [int(handle) for handle in data.data.handles]
            return tuple(found)

    @contextlib.contextmanager
    def talking(self):
        from hermetic.providers.tpm_device import library

        with library().ESAPI(self.tcti) as esapi:
            yield esapi

    def _listening(self) -> None:
        """Wait until it takes connections. Looking must not connect to the command port: it serves one client at a time."""
        end = time.monotonic() + _START
        wanted = {f"{self.port:04X}", f"{self.port + 1:04X}"}
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.stderr.read()
            with open("/proc/net/tcp") as table:  # noqa: PTH123 - not a file of the test's
                rows = [line.split() for line in table][1:]
            if wanted <= {row[1].rpartition(":")[2] for row in rows if row[3] == "0A"}:
                return
            time.sleep(0.01)
        raise AssertionError("swtpm does not listen")


def _two_ports() -> int:
    """Return a free port whose next one is free too, since the control channel is found there."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                two.bind(("127.0.0.1", port + 1))
                return int(port)
    raise AssertionError("no two free ports")
