"""A custody in memory, for what the real one cannot be brought to do: fail at a given message, lose rows, name other members.

It keeps no policy and no log. Everything else in a test is real: stores, sealed objects, signatures, leases.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import threading
from types import SimpleNamespace

from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.domain.leases import LeaseHolder
from hermetic.errors import Conflict, LeaseEnded, NotFound
from hermetic.formats import codec
from hermetic.formats.manifest import Manifest
from hermetic.formats.messages import base, catalogue, policy, runs, versions
from hermetic.ids import DataClass, Environment, Purpose, Ref, id_from_bytes
from hermetic.policy import globs
from hermetic.policy.defaults import default_bundle
from hermetic.policy.document import parse
from hermetic.signing.manifests import new_openings, sign_manifest, verify_manifest
from hermetic.stores.local import LocalStore

RECEIPT = base.Receipt(1, 0, b"{}", "proof")
SUITE = "FLOE-AES256-GCM-1M-BLAKE3"


def fresh():
    return id_from_bytes(secrets.token_bytes(16))


@dataclasses.dataclass
class Version:
    id: str
    asset: str
    name: str
    key: Secret
    data_key: str
    begun: versions.BeginVersion
    number: int | None = None
    state: str = "draft"
    published: versions.Published | None = None
    records: tuple = ()
    readers: int = 0


class FakePort:
    """Answers like custody. `fail[message class]` is an exception to raise instead, once."""

    def __init__(self):
        self.domain, self.signer = fresh(), SigningKey.generate()
        self.versions, self.assets, self.runs, self.leases, self.handles, self.exposures = {}, {}, {}, {}, {}, {}
        self.asked, self.fail = [], {}
        self.check_ms = 10_000
        self.lock = threading.RLock()

    def ask(self, request):
        with self.lock:
            self.asked.append(request)
            if type(request) in self.fail:
                raise self.fail.pop(type(request))
            return getattr(self, codec.name_of(type(request)).replace("-", "_"))(request)

    def redeem(self, blob):
        return self.handles.pop(blob.handle)

    def close(self):
        pass

    def lease(self, version, data_key, key):
        handle, lease = fresh(), fresh()
        self.handles[handle] = Secret(key.view())
        self.leases[lease] = None
        return versions.Lease(lease, version, data_key, base.KeyBlob(handle, None), 1, 1, self.check_ms, 60_000)

    def count(self, kind):
        return sum(isinstance(request, kind) for request in self.asked)

    # versions

    def begin_version(self, m):
        asset = self.assets.setdefault(m.name, fresh())
        version = Version(fresh(), asset, m.name, Secret.random(), fresh(), m)
        self.versions[version.id] = version
        return versions.Draft(
            self.domain, asset, version.id, m.data_class or DataClass.INTERNAL, Environment.DEVELOPMENT, m.owner or "ana", SUITE,
            "none", "sealed", self.lease(version.id, version.data_key, version.key), "cooperative", RECEIPT,
        )  # fmt: skip

    def publish_version(self, m):
        version = self.versions[m.version]
        if version.state != "draft":
            raise Conflict("not a draft")
        taken = [item.number for item in self.versions.values() if item.asset == version.asset and item.number]
        version.number = max(taken, default=0) + 1
        openings, commitments = new_openings(name=version.name, data_class="internal", writer="ana")
        objects = tuple(dataclasses.replace(_record(self.domain, version, record), index=record.index) for record in m.objects)
        manifest = Manifest(
            self.domain, version.asset, version.id, version.number, None, Environment.DEVELOPMENT, 0, commitments, objects
        )
        raw = sign_manifest(manifest, self.signer, "m1")
        shown = tuple(
            versions.Opening(field, opening.salt, opening.value)
            for field, opening in (("name", openings.name), ("class", openings.data_class), ("writer", openings.writer))
        )
        version.state, version.records = "published", m.objects
        version.published = versions.Published(
            f"{version.name}@{version.number}", version.asset, version.id, version.number, raw, shown, RECEIPT
        )
        return version.published

    def abandon_version(self, m):
        if self.versions[m.version].state != "draft":
            raise Conflict("published")
        self.versions[m.version].state = "abandoned"
        return base.Done()

    def find(self, text):
        ref = Ref.parse(text)
        known = [item for item in self.versions.values() if item.name == str(ref.name) and item.state == "published"]
        known = [item for item in known if ref.number in (None, item.number)]
        if not known:
            raise NotFound(f"no {text}")
        return max(known, key=lambda item: item.number)

    def members(self, version):
        return tuple(versions.Member(record.member, record.index, record.plaintext_length) for record in version.records)

    def open_versions(self, m):
        released = []
        for text in m.refs:
            version = self.find(text)
            version.readers += 1
            released.append(
                versions.Released(
                    text, version.name, version.asset, version.id, version.number, DataClass.INTERNAL, Environment.DEVELOPMENT, "ana",
                    "sealed", version.published.manifest, version.published.openings, self.members(version),
                    self.lease(version.id, version.data_key, version.key),
                )
            )  # fmt: skip
            if m.run:
                self.runs[m.run]["inputs"].append(version.published.ref)
        purpose, exposure = m.purpose or Purpose.PREPARE, None
        if m.exposure:
            exposure = fresh()
            row = catalogue.ExposureRow(exposure, released[0].ref, m.exposure.path, "ana", purpose, 0, m.exposure.until_ms, None)
            self.exposures[exposure] = row
        return versions.Opened(tuple(released), purpose, "cooperative", exposure, RECEIPT)

    def check_leases(self, m):
        return versions.LeaseStates(tuple(versions.LeaseState(lease, self.leases[lease]) for lease in m.leases))

    def end_leases(self, m):
        for lease in m.leases:
            self.leases[lease] = "given back"
        return base.Done()

    # catalogue

    def list_assets(self, m):
        rows = []
        for name, asset in sorted(self.assets.items()):
            mine = [item for item in self.versions.values() if item.asset == asset and item.state == "published"]
            if (m.pattern is None or globs.matches(m.pattern, name)) and mine:
                last = max(mine, key=lambda item: item.number)
                rows.append(
                    catalogue.AssetRow(
                        name, asset, DataClass.INTERNAL, Environment.DEVELOPMENT, "ana", "p", last.number, len(mine),
                        sum(record.plaintext_length for record in last.records), None, 0,
                    )
                )  # fmt: skip
        return catalogue.AssetList(tuple(rows))

    def show_version(self, m):
        v = self.find(m.ref)
        return catalogue.VersionDetails(
            v.published.ref, v.name, v.asset, v.id, v.number, "published", DataClass.INTERNAL, Environment.DEVELOPMENT, "ana", "p",
            Purpose.INGEST, None, "ana", 0, 0, None, sum(r.plaintext_length for r in v.records), "sealed", fresh(), 1, "active",
            v.published.manifest, v.published.openings, self.members(v), (), (), v.readers, None,
            place="" if self.located else None,
        )  # fmt: skip

    located = False  # whether versions were sealed to plain locations

    def rename_asset(self, m):
        if m.old not in self.assets:
            raise NotFound(f"no {m.old}")
        self.assets[m.new] = self.assets.pop(m.old)
        for version in self.versions.values():
            version.name = m.new if version.name == m.old else version.name
        return base.Done()

    def list_exposures(self, m):
        return catalogue.ExposureList(tuple(row for row in self.exposures.values() if m.ended or row.ended_ms is None))

    def end_exposure(self, m):
        for key, row in self.exposures.items():
            if row.path == m.path and row.ended_ms is None:
                self.exposures[key] = dataclasses.replace(row, ended_ms=1)
                return self.exposures[key]
        raise NotFound("no exposure")

    def collect_garbage(self, m):
        items = tuple(
            catalogue.GarbageItem("sealed", version.id, version.state)
            for version in self.versions.values()
            if version.state in {"draft", "abandoned"}
        )
        keep = tuple(version.id for version in self.versions.values() if version.state == "published")
        return catalogue.Garbage(items, keep)

    # runs and policy

    def start_run(self, m):
        run = fresh()
        self.runs[run] = {
            "message": m,
            "state": "running",
            "inputs": [],
            "key": Secret.random(),
            "ids": (fresh(), fresh(), fresh()),
            "facts": (),
        }
        return runs.RunStarted(run, RECEIPT)

    def open_scratch(self, m):
        run = self.runs[m.run]
        if run["key"] is None:
            raise LeaseEnded("the run has ended")
        asset, version, data_key = run["ids"]
        return runs.Scratch(self.domain, asset, version, SUITE, "sealed", self.lease(version, data_key, run["key"]), RECEIPT)

    def finish_run(self, m):
        run = self.runs[m.run]
        run |= {"state": m.state, "key": None, "facts": m.facts}
        return self.show_run(runs.ShowRun(m.run))

    def show_run(self, m):
        if m.run not in self.runs:
            raise NotFound("no run")
        run, start = self.runs[m.run], self.runs[m.run]["message"]
        outputs = tuple(v.published.ref for v in self.versions.values() if v.begun.run == m.run and v.published)
        return runs.RunRow(
            m.run, start.name, start.purpose, "ana", run["state"], 0, None, start.facts + run["facts"], tuple(run["inputs"]), outputs
        )

    def show_policy(self, m):
        bundle = default_bundle(self.domain, "p")
        return policy.PolicyInForce(bundle.digest(), bundle.to_bytes(), 0, "ana")


def _record(domain, version, record):
    from hermetic.formats.manifest import ManifestObject

    return ManifestObject(
        domain, version.asset, version.id, record.index, record.object, record.root, record.algorithm, record.length, version.data_key
    )


class FakeConnection:
    """What `domain.connect` gives, around a FakePort and a real folder."""

    def __init__(self, folder):
        self.port = FakePort()
        self.stores = {"sealed": LocalStore(folder / "project" / "sealed")}
        (folder / "project").mkdir(exist_ok=True)
        self.project = SimpleNamespace(
            root=folder / "project", domain=self.port.domain, bundle=lambda: default_bundle(self.port.domain, "p")
        )
        self.home = SimpleNamespace(data=folder / "home" / "data", config=folder / "home" / "config")
        bundle = self.project.bundle()
        self.project.document = parse(bundle.document_text())
        self.welcome = SimpleNamespace(domain=self.port.domain, policy_digest=bundle.digest())
        self.apart = False
        self.environment = None
        self.pins = SimpleNamespace(
            manifest_keys={"m1": self.port.signer.public}, pins=SimpleNamespace(versions={}), caught_up=lambda: False
        )
        self.leases = LeaseHolder(self.port)
        self.pid = os.getpid()

    def ask(self, request):
        return self.port.ask(request)

    def close(self):
        self.leases.end_all()


def verify_released(released, pins):
    """Stand in for `domain.verify`, whose pins are files."""
    return verify_manifest(released.manifest, pins.manifest_keys)
