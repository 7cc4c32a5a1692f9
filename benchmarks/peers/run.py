"""Hermetic beside its rivals: the same work on the same data in one run, each rival in an environment of its own.

    python benchmarks/peers/run.py [--mib 1024] [--rounds 7] [--folder DIR] [--works seal,open,…] [--only WORD,…] [--json FILE]

Needs .venv. Rivals are installed into build/peers the first time (a few minutes; torch four times, about 4 GB; --torch-index URL names
an index that has it without CUDA); what cannot be installed is listed with why. Each measurement is a process of its own, with what it
reads in the page cache, its outputs removed, the disk synced and left alone for --pause seconds, and memory touched and freed before.
Importing libraries and making keys is not timed. Peak memory is above what the process held before the work. Each contender's first
run does not count: it is compared byte for byte with the source. Runs in which others used more than 15 % of a processor are taken
again, --retries times at most.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(1, str(HERE.parent))

import _data  # noqa: E402 - found through the line above
import _environments  # noqa: E402
import _table  # noqa: E402
from _contenders import CONTENDERS, LOAD, MEANINGS, ONE, OPEN, SAVE, SEAL, TABLES, Contender  # noqa: E402
from _fresh import Failed, Taken, forget, fresh  # noqa: E402

from hermetic.bench import place  # noqa: E402
from hermetic.bench.measuring import RETRIES, Sample, Summary, summary  # noqa: E402

MIB = 1024 * 1024
OUTPUTS = {SEAL: ("sealed", "sealed.json"), OPEN: ("back",), SAVE: ("saved",)}
COPIES = 26  # of the data on disk at once, at most


class Peers:
    """One run: environments, folders, figures, and what went wrong with whom."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.pythons: dict[str, Path] = {}
        self.absent: dict[str, str] = {}
        self.samples: dict[tuple[str, str], list[Sample]] = {}
        self.digests: dict[tuple[str, str], str] = {}
        self.works = tuple(work for work in MEANINGS if not options.works or work in options.works.split(","))
        words = [word for word in options.only.split(",") if word]
        self.contenders = [one for one in CONTENDERS if not words or any(word in one.label for word in words)]

    def install(self) -> None:
        """Make every environment that is needed."""
        for name in dict.fromkeys(one.environment for one in self.contenders):
            try:
                self.pythons[name] = _environments.ensure(name, index=self.options.torch_index)
            except _environments.Missing as error:
                self.absent |= {one.label: f"not installed: {error}" for one in self.contenders if one.environment == name}

    def measure(self) -> None:
        """Run all works: the check of everyone, then the rounds in turns."""
        for work in self.works:
            here = [one for one in self.contenders if work in one.works and one.label not in self.absent]
            able = [one for one in here if self._checked(one, work)]
            for number in range(self.options.rounds):
                for one in able:
                    taken = self._try(one, work, check=False)
                    if taken is not None:
                        self.samples.setdefault((work, one.label), []).append(taken.sample)
                print(f"{MEANINGS[work]}: round {number + 1} of {self.options.rounds}", file=sys.stderr)
            for one in able if work == OPEN else ():
                forget(self._place(one) / "back")
            for line in _table.tables(self.found(), (work,)):  # at once: a long run may be cut short
                print(line, flush=True)

    def found(self) -> dict[tuple[str, str], Summary]:
        """Return what was measured in every round."""
        return {key: summary(samples) for key, samples in self.samples.items() if len(samples) == self.options.rounds}

    def _checked(self, one: Contender, work: str) -> bool:
        """Do the work once and compare what came of it. What cannot do it, or does it wrong, is listed."""
        taken = self._try(one, work, check=True)
        if taken is None:
            return False
        if work == OPEN and not filecmp.cmp(self._place(one) / "back", self.folder / _data.WEIGHTS, shallow=False):
            self.absent[one.label] = f"{MEANINGS[work]}: WRONG, the bytes differ"
            return False
        kind = work if work in {LOAD, ONE} else "table" if work in TABLES else None
        if kind is not None:
            self.digests[kind, one.label] = str(taken.said[0])
            wanted = next(digest for (other, _), digest in self.digests.items() if other == kind)
            if str(taken.said[0]) != wanted:
                self.absent[one.label] = f"{MEANINGS[work]}: WRONG, what was read differs"
                return False
        return True

    def _try(self, one: Contender, work: str, *, check: bool) -> Taken | None:
        home = self._place(one)
        warm = str(3 * self.options.mib * MIB)
        command = [str(self.pythons[one.environment]), str(HERE / "_child.py"), one.module, one.variant, work, str(home), warm]
        try:
            return fresh(
                [*command, "check"] if check else command,
                remove=[home / name for name in OUTPUTS.get(work, ())],
                read=[
                    path for path in (*home.glob("*.safetensors"), *home.glob("*.parquet"), *self._sealed(home, work)) if path.exists()
                ],
                pause=0 if check else self.options.pause,
                retries=0 if check else self.options.retries,
                environment=_environment(),
            )
        except Failed as error:
            self.absent[one.label] = f"{MEANINGS[work]}: failed: {error}"
            print(f"{one.label}: {self.absent[one.label]}", file=sys.stderr)
            return None

    def _sealed(self, home: Path, work: str) -> list[Path]:
        if work in {SEAL, SAVE}:
            return []
        return [home / "sealed", home / "saved", *home.glob("*/project/sealed/*/*.sealed")]

    def _place(self, one: Contender) -> Path:
        """Return the contender's own folder, which has the data by hard links."""
        home = self.folder / re.sub(r"[^a-z0-9]+", "-", one.label.lower()).strip("-")
        if not home.exists():
            home.mkdir()
            for name in (_data.WEIGHTS, _data.TABLE):
                os.link(self.folder / name, home / name)
        return home


def _environment() -> dict[str, str]:
    """What contenders see: nothing of this user's own domain."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HERMETIC_", "PYTHONPATH"))}


def main() -> None:
    options = _options()
    with place.temporary(options.folder) as folder:
        free, needed = shutil.disk_usage(folder).free, COPIES * options.mib * MIB
        if free < needed:
            raise SystemExit(f"error: {options.folder} has {free // MIB} MiB free of {needed // MIB} needed: use --mib or --folder")
        peers = Peers(folder, options)
        peers.install()
        _data.write(folder, options.mib)
        print(_heading(options), flush=True)
        peers.measure()
    _print(peers)
    if options.json:
        facts = {"mib": options.mib, "rounds": options.rounds, "figures": _table.to_json(peers.found()), "absent": peers.absent}
        options.json.write_text(json.dumps(facts, indent=2))
    if any("WRONG" in why for why in peers.absent.values()):
        raise SystemExit(1)


def _heading(options: argparse.Namespace) -> str:
    return (
        f"{options.mib} MiB of fp16 in {_data.TENSORS} tensors, Parquet of a quarter of that; {options.rounds} rounds, page cache "
        f"warm, a process for each; {os.cpu_count()} processors, Linux {platform.release()}, Python {platform.python_version()}"
    )


def _print(peers: Peers) -> None:
    for line in _table.goals(peers.found()):
        print(line)
    if peers.absent:
        print("\nleft out")
        for label, why in peers.absent.items():
            print(f"  {label}: {why}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--retries", type=int, default=RETRIES, help="how often a disturbed measurement is taken again")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--works", default="", help=f"some of {','.join(MEANINGS)}")
    parser.add_argument("--only", default="", help="contenders whose name holds one of these words")
    parser.add_argument("--torch-index", metavar="URL", help="one more package index")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
