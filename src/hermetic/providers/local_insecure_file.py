"""`local:insecure-file`: a root in a plain file of mode 0600, for development and tests only.

Whoever copies the folder has every key; its status carries a finding that says so, and production environments refuse it.

    {domain, format: "hermetic/insecure-root/v1", root, secret}      canonical JSON, `secret` is 32 bytes as base64url
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.findings import Finding
from hermetic.keys import documents
from hermetic.keys.provider import ProviderState, ProviderStatus
from hermetic.providers import private_file
from hermetic.providers.local_root import FILE_LIMIT, ROOT, LocalRoot, new_root, read_root_file, remove_root_file, root_path

if TYPE_CHECKING:
    from hermetic.providers.place import Asked, Place

FORMAT: Final = "hermetic/insecure-root/v1"
_FIELDS: Final = {"domain", "format", "root", "secret"}
FINDING: Final = "insecure-root"


class InsecureFileRoot(LocalRoot):
    """A root that is never locked."""

    def load_root(self) -> Secret:
        """Return the root. Raises KeyServiceUnavailable (no file), IntegrityError (changed, or open to others)."""
        document = documents.parse(read_root_file(self.place), FORMAT, _FIELDS, limit=FILE_LIMIT)
        if (document.identifier("domain"), document.identifier("root")) != (self.place.domain, self.root_id):
            raise FormatError(f"{root_path(self.place)} is the file of another root")
        return Secret(document.binary("secret", length=ROOT))

    def status(self) -> ProviderStatus:
        """Say whether the file can be used; always with a finding."""
        try:
            self.load_root()
        except HermeticError as error:
            return ProviderStatus(self.uri, self.root_id, ProviderState.UNREACHABLE, error.message, findings=(self._finding(),))
        return ProviderStatus(self.uri, self.root_id, ProviderState.READY, "for development only", findings=(self._finding(),))

    def _finding(self) -> Finding:
        return Finding(
            code=FINDING,
            severity="medium",  # production assets refuse this root, and `status` calls it high beside them
            subject=self.root_id,
            message="the root lies in a plain file: whoever copies it opens everything",
            remedy="for anything but trying out move it: `hermetic key root add local:passphrase`, then deactivate and drop this one",
        )


def open_(uri: str, place: Place) -> InsecureFileRoot:
    """Return the provider of an existing root."""
    return InsecureFileRoot(uri, place)


def create(uri: str, place: Place, asked: Asked) -> InsecureFileRoot:
    """Make a root in a plain file. Raises Conflict, StorageError."""
    root = new_root(asked)  # kept by name: a Secret that is collected wipes the bytes that its view lends
    secret = to_base64url(bytes(root.view()))
    document = canonical.encode({"domain": place.domain, "format": FORMAT, "root": place.root_id, "secret": secret})
    private_file.write(root_path(place), document, replace=False)
    return InsecureFileRoot(uri, place)


def remove(_uri: str, place: Place) -> str:
    """Wipe the file."""
    return remove_root_file(place)
