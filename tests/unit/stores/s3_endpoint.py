"""A small S3 endpoint on loopback for tests that need faults: what it answers can be spoilt request by request.

It knows what `hermetic.stores.s3` uses and checks what an endpoint would: checksums of bodies, part numbers, conditions. Whether a
real endpoint agrees is for tests/interop/s3. `faults` are called with every request, before it is served; they return None, or what
to do instead: a status to answer with, `CUT` (close the connection), or a number of body bytes after which to cut.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"
CUT = "cut"
PAGE = 3


@dataclass
class Asked:
    """A request as a fault sees it."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def does(self) -> str:
        """The operation in a word."""
        if "uploads" in self.query:
            return "uploads" if self.method == "GET" else "create"
        if "uploadId" in self.query:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort", "GET": "parts"}[self.method]
        return "list" if not self.key else {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}[self.method]


@dataclass
class Upload:
    key: str
    token: str
    parts: dict[int, bytes] = field(default_factory=dict)
    when: float = 0.0


class Endpoint:
    """The server and what it holds. Use it as a context manager."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str, str]] = {}  # key to bytes, tag, token
        self.uploads: dict[str, Upload] = {}
        self.asked: list[Asked] = []
        self.faults: list = []
        self.after: list = []  # like faults, called when the request has taken effect
        self.conditions = "kept"  # or "ignored", or "refused"
        self.listing: dict[str, tuple[bytes, str, str]] | None = None  # a stale listing
        self.now = 1_000_000.0
        self.lock = threading.Lock()
        self.count = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"endpoint": self}))
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def done(self, *does: str) -> int:
        """How often these operations were asked for."""
        return sum(asked.does in does for asked in self.asked)


def tag_of(data: bytes) -> str:
    return md5(data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    endpoint: Endpoint
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _serve(self):
        split = urlsplit(self.path)
        _, _, path = split.path.lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, unquote(path), query, headers)
        body = self.rfile.read(int(headers.get("content-length", 0)))
        with self.endpoint.lock:
            self.endpoint.asked.append(asked)
        fault = next((fault for one in list(self.endpoint.faults) if (fault := one(asked)) is not None), None)
        if fault == CUT:
            self._cut()
            return
        if isinstance(fault, tuple):
            self._answer(fault[0], _error(fault[1]))
            return
        self._limit = fault
        with self.endpoint.lock:
            answer = getattr(self, f"_{asked.does}")(asked, body)
        after = next((fault for one in list(self.endpoint.after) if (fault := one(asked)) is not None), None)
        if after == CUT:
            self._cut()
        elif isinstance(after, tuple):
            self._answer(after[0], _error(after[1]))
        else:
            self._answer(*answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _cut(self):
        with suppress(OSError):
            self.connection.shutdown(2)
        self.close_connection = True

    def _answer(self, status, body=b"", headers=None):
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if "Content-Length" not in (headers or {}):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                limit = getattr(self, "_limit", None)
                self.wfile.write(body if limit is None else body[:limit])
                if limit is not None and limit < len(body):
                    self._cut()

    # objects

    def _refused(self, asked):
        """What a condition comes to."""
        if "if-none-match" not in asked.headers or self.endpoint.conditions == "ignored":
            return None
        if self.endpoint.conditions == "refused":
            return 501, _error("NotImplemented")
        return (412, _error("PreconditionFailed")) if asked.key in self.endpoint.objects else None

    def _put(self, asked, body):
        refused = self._refused(asked)
        if refused:
            return refused
        if not _sound(asked, body):
            return 400, _error("BadDigest")
        self.endpoint.objects[asked.key] = (body, tag_of(body), asked.headers.get("x-amz-meta-hermetic-write", ""))
        return 200, b"", {"ETag": f'"{tag_of(body)}"'}

    def _head(self, asked, _body):
        status, _, headers = self._get(asked, _body)
        return status, b"", headers

    def _get(self, asked, _body):
        if asked.key not in self.endpoint.objects:
            return 404, _error("NoSuchKey"), {}
        data, tag, token = self.endpoint.objects[asked.key]
        if asked.headers.get("if-match", f'"{tag}"') != f'"{tag}"' and self.endpoint.conditions == "kept":
            return 412, _error("PreconditionFailed"), {}
        headers = {"ETag": f'"{tag}"', "Content-Length": str(len(data)), "x-amz-meta-hermetic-write": token}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", ""))
        if wanted is None:
            return 200, data, headers
        start, end = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        if start >= len(data):
            return 416, _error("InvalidRange"), {}
        headers |= {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}", "Content-Length": str(end - start)}
        return 206, data[start:end], headers

    def _delete(self, asked, _body):
        self.endpoint.objects.pop(asked.key, None)
        return 204, b""

    def _list(self, asked, _body):
        there = self.endpoint.objects if self.endpoint.listing is None else self.endpoint.listing
        keys = sorted(key for key in there if key.startswith(asked.query.get("prefix", "")))
        after = asked.query.get("continuation-token", "")
        keys = [key for key in keys if key > after]
        items = "".join(f"<Contents><Key>{escape(key)}</Key><Size>{len(there[key][0])}</Size></Contents>" for key in keys[:PAGE])
        more = len(keys) > PAGE
        following = f"<NextContinuationToken>{escape(keys[PAGE - 1])}</NextContinuationToken>" if more else ""
        return 200, _xml("ListBucketResult", f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{items}")

    # uploads

    def _create(self, asked, _body):
        self.endpoint.count += 1
        upload = f"upload-{self.endpoint.count}"
        token = asked.headers.get("x-amz-meta-hermetic-write", "")
        self.endpoint.uploads[upload] = Upload(asked.key, token, when=self.endpoint.now)
        return 200, _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")

    def _part(self, asked, body):
        upload = self.endpoint.uploads.get(asked.query["uploadId"])
        if upload is None:
            return 404, _error("NoSuchUpload")
        if not _sound(asked, body):
            return 400, _error("BadDigest")
        upload.parts[int(asked.query["partNumber"])] = body
        upload.when = self.endpoint.now
        return 200, b"", {"ETag": f'"{tag_of(body)}"'}

    def _complete(self, asked, body):
        upload = self.endpoint.uploads.get(asked.query["uploadId"])
        if upload is None:
            return 404, _error("NoSuchUpload")
        refused = self._refused(asked)
        if refused:
            return refused
        numbers = [int(number) for number in re.findall(r"<PartNumber>(\d+)</PartNumber>", body.decode())]
        if numbers != sorted(upload.parts) or numbers != list(range(1, len(numbers) + 1)):
            return 400, _error("InvalidPart")
        data = b"".join(upload.parts[number] for number in numbers)
        self.endpoint.objects[asked.key] = (data, f"{tag_of(data)}-{len(numbers)}", upload.token)
        del self.endpoint.uploads[asked.query["uploadId"]]
        return 200, _xml("CompleteMultipartUploadResult", f"<ETag>&quot;{tag_of(data)}-{len(numbers)}&quot;</ETag>")

    def _abort(self, asked, _body):
        if self.endpoint.uploads.pop(asked.query["uploadId"], None) is None:
            return 404, _error("NoSuchUpload")
        return 204, b""

    def _uploads(self, asked, _body):
        marker = asked.query.get("upload-id-marker", "")
        prefix = asked.query.get("prefix", "")
        names = [name for name, upload in sorted(self.endpoint.uploads.items()) if upload.key.startswith(prefix) and name > marker]
        items = "".join(
            f"<Upload><Key>{escape(self.endpoint.uploads[name].key)}</Key><UploadId>{name}</UploadId>"
            f"<Initiated>{_time(1.0)}</Initiated></Upload>"
            for name in names[:PAGE]
        )
        more = len(names) > PAGE
        last = names[PAGE - 1] if more else ""
        key = last and self.endpoint.uploads[last].key
        following = f"<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{last}</NextUploadIdMarker>"
        text = f"<IsTruncated>{str(more).lower()}</IsTruncated>{following if more else ''}{items}"
        return 200, _xml("ListMultipartUploadsResult", text)

    def _parts(self, asked, _body):
        upload = self.endpoint.uploads.get(asked.query["uploadId"])
        if upload is None:
            return 404, _error("NoSuchUpload")
        when = f"<LastModified>{_time(upload.when)}</LastModified>"
        items = "".join(f"<Part><PartNumber>{number}</PartNumber>{when}</Part>" for number in upload.parts)
        return 200, _xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{items}")


def _sound(asked, body):
    told = asked.headers.get("x-amz-checksum-crc32")
    return told is None or base64.b64decode(told) == zlib.crc32(body).to_bytes(4, "big")


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _xml(name: str, inner: str) -> bytes:
    return f'<?xml version="1.0"?><{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{name}>'.encode()


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>secret words of the endpoint</Message></Error>'.encode()
