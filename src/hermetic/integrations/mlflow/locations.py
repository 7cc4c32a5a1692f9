"""URIs of artifact folders, and names of artifacts in them.

    hermetic+file:///data/mlruns        hermetic+file:/data/mlruns, which is what MLflow makes of it
    hermetic+s3://bucket/prefix

Nothing else is read in these: no host before a path of a file, no query, no fragment, no `%`, which some would decode and others not.
What could mean two locations is refused rather than chosen from.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from hermetic.errors import InvalidName

_FORMS = {"file": re.compile(r"(?:///|/)(?!/)(.*)"), "s3": re.compile(r"//(?!/)(.*)")}
_SCHEME = re.compile(r"hermetic\+(file|s3):")
_HINT = "write hermetic+file:///FOLDER or hermetic+s3://BUCKET/PREFIX"


@dataclass(frozen=True, slots=True)
class Root:
    """A folder of artifacts: the protocol behind, and the path as that file system writes it."""

    protocol: str
    path: str

    @classmethod
    def parse(cls, uri: str) -> Root:
        """Read a URI. Raises InvalidName."""
        scheme = _SCHEME.match(uri)
        form = _FORMS[scheme[1]].fullmatch(uri[scheme.end() :]) if scheme else None
        if scheme is None or form is None:
            raise InvalidName(f"{uri[:200]!r} is no folder of sealed artifacts", hint=_HINT)
        if found := re.search(r"[?#%]|::|://", form[1]):
            raise InvalidName(f"{uri[:200]!r} holds {found[0]!r}, which can be read in two ways", hint="choose a folder without it")
        path = _checked(form[1].rstrip("/"))
        return cls(scheme[1], f"/{path}" if scheme[1] == "file" else path)

    def at(self, artifact: str | None) -> str:
        """Return the path of an artifact or folder of them; None, "" and "." mean the root. Raises InvalidName."""
        return f"{self.path}/{_checked(artifact.rstrip('/'))}" if artifact not in {None, "", "."} and artifact else self.path

    def name_of(self, path: str) -> str:
        """Return what `at` makes `path` of. Raises InvalidName for a path that is not below the root."""
        name = path.removeprefix(f"{self.path}/")
        if name == path:
            raise InvalidName(f"{path[:200]!r} is not below {self.path!r}")
        return name


def _checked(path: str) -> str:
    odd = any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in path)
    if odd or "\\" in path or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise InvalidName(
            f"{path[:200]!r} is not a plain path", hint="'.', '..' and empty parts, backslashes and control characters are refused"
        )
    return path
