"""The TLS side of the service: version 1.3 only, and nobody without a certificate that leads to one of the domain's authorities, but
at the listener for logins (`login`).

The service's private key comes from custody in memory. OpenSSL takes keys from files only: it gets one that has no place on any disk.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from hermetic.errors import StorageError

if TYPE_CHECKING:
    from hermetic.domain.service import Shown


def server_context(shown: Shown, *, certified: bool = True) -> ssl.SSLContext:
    """Return the context for new connections; without `certified` peers are asked for no certificate.

    Raises StorageError for a certificate that OpenSSL does not take.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED if certified else ssl.CERT_NONE
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an authority of others may be below theirs
    made.num_tickets = 0  # a session taken up again would not show its certificate to authorities of later
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_verify_locations(cadata=b"".join(shown.authorities))
        _load(made, shown)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise StorageError(f"OpenSSL does not take the service's certificate: {error}") from None
    return made


def _load(context: ssl.SSLContext, shown: Shown) -> None:
    file = os.memfd_create("service", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb", buffering=0) as out:
            out.write(shown.chain + b"\n")
            out.write(shown.key.view())
        context.load_cert_chain(f"/proc/self/fd/{file}")
        os.pwrite(file, bytes(os.fstat(file).st_size), 0)
    finally:
        os.close(file)
