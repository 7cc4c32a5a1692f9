"""One key of a transit secrets engine: what it may be, and encrypting, decrypting, rewrapping many small things with it.

A batch goes in requests of at most `CHUNK` items, since the server takes a thousand JSON strings in one (`max_request_json_strings`),
keys counted. Each item has its own result: text, or the error it met. Where the server refuses a whole batch for one bad item, as
older ones do with rewrap, the batch is halved until the bad ones stand alone.

What was answered with values is noted in `session.uses` under the server's id of the request, by which its audit file names it.

What the key has to be, to be a root: AES-256-GCM, derived (so that a context is bound to it, and kept by rewrap), never exportable, no
plaintext backup, not convergent. It is looked at before every wrap: exportable and plaintext backup can be switched on later.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hermetic.errors import FormatError, HermeticError, IntegrityError, KeyServiceUnavailable, WrongKey
from hermetic.providers.openbao_http import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.providers.openbao_auth import Session
    from hermetic.providers.openbao_http import Answer

CHUNK: Final = 248  # four strings an item, and a few around them: below 1,000
AT_ONCE: Final = 2  # requests of one batch: while the server works on one, the next is written and the last read
KIND: Final = "aes256-gcm96"

Item: TypeAlias = dict[str, str]
Result: TypeAlias = "str | HermeticError"

_FORBIDDEN: Final = {
    "exportable": "can be exported",
    "allow_plaintext_backup": "can be backed up in plaintext",
    "convergent_encryption": "encrypts convergently",
}
_WRONG: Final = (
    "message authentication failed",
    "invalid ciphertext",
    "unable to decrypt",
    "version is too new",
    "ciphertext version",
)
_RETIRED: Final = "disallowed by policy (too old)"
_GONE: Final = ("encryption key not found", "soft-deleted key")


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What the server says of the key; `weak` is why it cannot be a root, in words."""

    latest_version: int
    deletion_allowed: bool
    weak: tuple[str, ...]


class TransitKey:
    """The key MOUNT/NAME as a session sees it."""

    def __init__(self, session: Session, mount: str, name: str) -> None:
        self.session, self.mount, self.name = session, mount, name

    def info(self) -> KeyInfo | None:
        """Return what the key is, None if there is none. Raises KeyServiceUnavailable, FormatError."""
        answer = self.session.call("GET", f"{self.mount}/keys/{self.name}")
        if answer.status == 404 and not answer.problem:
            return None
        data = self._data(answer, "read")
        weak = [meaning for name, meaning in _FORBIDDEN.items() if data.get(name) is not False]
        if data.get("derived") is not True:
            weak.insert(0, "derives no keys from contexts")
        if data.get("type") != KIND:
            weak.insert(0, f"is not of type {KIND}")
        if data.get("soft_deleted") is True:
            raise self._gone()
        latest = data.get("latest_version")
        if not isinstance(latest, int) or isinstance(latest, bool):
            raise self._strange()
        return KeyInfo(latest, data.get("deletion_allowed") is not False, tuple(weak))

    def check(self) -> KeyInfo:
        """Return what the key is. Raises IntegrityError when it can be no root (any more), KeyServiceUnavailable when it is gone."""
        info = self.info()
        if info is None:
            raise self._gone()
        if info.weak:
            raise IntegrityError(
                f"transit key {self.mount}/{self.name} {' and '.join(info.weak)}: it protects nothing as a root",
                hint="somebody made or changed it so: find out who, and move this domain to another root",
            )
        return info

    def create(self) -> None:
        """Make the key. Raises KeyServiceUnavailable."""
        asked = {"type": KIND, "derived": True, "exportable": False, "allow_plaintext_backup": False, "convergent_encryption": False}
        answer = self.session.call("POST", f"{self.mount}/keys/{self.name}", asked)
        if answer.status not in {200, 204}:
            raise self._refusal(answer, "create")

    def each(self, operation: str, items: Sequence[Item], wanted: str) -> list[Result]:
        """Return the field `wanted` of each item's result, or the item's error. Raises KeyServiceUnavailable, FormatError for all."""
        chunks = [items[at : at + CHUNK] for at in range(0, len(items), CHUNK)]
        if len(chunks) < 2:
            return [result for chunk in chunks for result in self._chunk(operation, chunk, wanted)]
        with ThreadPoolExecutor(min(AT_ONCE, len(chunks)), "hermetic-openbao") as pool:
            done = pool.map(lambda chunk: self._chunk(operation, chunk, wanted), chunks)
            return [result for results in done for result in results]

    def policy(self, *, creating: bool = False) -> str:
        """Return the least policy that this provider works with, as one line of HCL."""
        key = [f'path "{self.mount}/keys/{self.name}" {{ capabilities = [{_CREATING if creating else _READING}] }}']
        used = [f'path "{self.mount}/{operation}/{self.name}" {{ capabilities = ["update"] }}' for operation in _OPERATIONS]
        return " ".join([*key, *used])

    def _chunk(self, operation: str, items: Sequence[Item], wanted: str) -> list[Result]:
        alone = len(items) == 1  # the audit file of the server then says whether it was opened; of a batch with a bad item it does not
        body = items[0] if alone else {"batch_input": list(items)}
        answer = self.session.call("POST", f"{self.mount}/{operation}/{self.name}", body)
        if isinstance(answer.body.get("wrap_info"), dict):
            raise self._held(operation)
        data = answer.body.get("data")
        results = data.get("batch_results") if isinstance(data, dict) else None
        if isinstance(data, dict):  # whatever the results are: the server counts it as an answer
            self.session.uses.note(_USES[operation], answer.body.get("request_id"))
        if alone and answer.status == 200 and isinstance(data, dict):
            return [self._result(data, wanted)]
        if answer.status in {200, 400} and isinstance(results, list):
            if len(results) != len(items):
                raise self._strange()
            return [self._result(result, wanted) for result in results]
        if answer.status in {400, 500} and any(words in answer.problem for words in (*_WRONG, _RETIRED)):
            if alone:
                return [self._item_error(answer.problem)]
            half = len(items) // 2
            return [*self._chunk(operation, items[:half], wanted), *self._chunk(operation, items[half:], wanted)]
        if answer.status == 200:
            raise self._strange()
        raise self._refusal(answer, operation)

    def _result(self, result: Any, wanted: str) -> Result:
        if not isinstance(result, dict):
            raise self._strange()
        problem, value = result.get("error"), result.get(wanted)
        if isinstance(problem, str) and problem:
            return self._item_error(problem)
        return value if isinstance(value, str) and value else self._strange()

    def _item_error(self, problem: str) -> HermeticError:
        if _RETIRED in problem:
            return KeyServiceUnavailable(
                f"transit key {self.mount}/{self.name} no longer opens this version",
                hint=f"min_decryption_version was raised: `bao write {self.mount}/keys/{self.name}/config min_decryption_version=1`",
            )
        if any(words in problem for words in _WRONG):
            return WrongKey(
                f"a wrapped key does not open under transit key {self.mount}/{self.name}",
                hint="it was changed, or belongs to another root or place: `hermetic log verify`, then restore a backup",
            )
        if any(words in problem for words in _GONE):
            return self._gone()
        return KeyServiceUnavailable(f"OpenBao cannot use transit key {self.mount}/{self.name}: {printable(problem)}")

    def _data(self, answer: Answer, operation: str) -> dict[str, Any]:
        if answer.status != 200:
            raise self._refusal(answer, operation)
        data = answer.body.get("data")
        if not isinstance(data, dict):
            raise self._strange()
        return data

    def _refusal(self, answer: Answer, operation: str) -> KeyServiceUnavailable:
        name, address = f"{self.mount}/{self.name}", self.session.client.server.address
        if answer.status == 403:
            return KeyServiceUnavailable(
                f"OpenBao at {address} denies this login to {operation} with transit key {name}",
                hint=f"its policy has to say: {self.policy(creating=operation == 'create')}",
            )
        if any(words in answer.problem for words in _GONE):
            return self._gone()
        if answer.status == 404 or "no handler for route" in answer.problem:
            return KeyServiceUnavailable(
                f"OpenBao at {address} has no transit engine at {self.mount}",
                hint=f"`bao secrets enable -path={self.mount} transit`, or check the root's URI and the setting `namespace`",
            )
        if answer.status == 413 or "maximum number of strings" in answer.problem:
            return KeyServiceUnavailable(
                f"OpenBao at {address} takes only smaller requests", hint="its max_request_* settings are too low"
            )
        return KeyServiceUnavailable(f"OpenBao at {address} cannot {operation} with {name}: {answer.problem or answer.status}")

    def _gone(self) -> KeyServiceUnavailable:
        return KeyServiceUnavailable(
            f"transit key {self.mount}/{self.name} was deleted",
            hint=f"`bao write -f {self.mount}/keys/{self.name}/soft-delete-restore`, or restore a snapshot, or use another root",
        )

    def _held(self, operation: str) -> KeyServiceUnavailable:
        return KeyServiceUnavailable(
            f"OpenBao answers {operation} with transit key {self.mount}/{self.name} only when others have approved",
            hint="take `control_group` and `min_wrapping_ttl` off that path in its policy: approvals are Hermetic's own",
        )

    def _strange(self) -> FormatError:
        return FormatError(f"OpenBao at {self.session.client.server.address} gives an answer that makes no sense")


_READING: Final = '"read"'
_CREATING: Final = '"create", "update", "read"'
_OPERATIONS: Final = ("encrypt", "decrypt", "rewrap")
_USES: Final = {"encrypt": "wrap", "decrypt": "unwrap", "rewrap": "rewrap"}
