"""`seal --subject`, `key shred --subject`, `--with-derived`, `--project` as people give them."""

from __future__ import annotations

import pytest

import hermetic as hermetic_package
from hermetic.custody import dispatch


@pytest.fixture
def project(hermetic, domain_home, tmp_path, monkeypatch):
    """A domain with versions about two people."""
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    monkeypatch.chdir(folder)
    assert hermetic("init", "--root", "local:insecure-file", "--project", "clinic").code == 0
    (folder / "cases.csv").write_bytes(b"case,age\n1,44\n")
    for name, subjects in (("dataset/cases", ("P-17", "P-18")), ("dataset/more", ("P-18",)), ("dataset/none", ())):
        given = [part for subject in subjects for part in ("--subject", subject)]
        done = hermetic("seal", "cases.csv", "--as", name, "--class", "restricted", *given)
        assert done.code == 0, done.err
    return folder


def test_a_subject_is_sealed_shown_and_shredded(project, hermetic):
    assert "P-17" in hermetic("show", "dataset/cases@1").out
    shown = hermetic("key", "shred", "--subject", "P-17", "--dry-run")
    assert "dataset/cases@1" in shown.out
    assert "dataset/more@1" not in shown.out
    assert "other subjects: 1" in shown.err
    done = hermetic("key", "shred", "--subject", "P-17", "--reason", "consent withdrawn", "--json")
    assert (done.code, done.json["refs"]) == (0, ["dataset/cases@1"])
    assert hermetic("key", "shred", "--subject", "P-17", "--reason", "again").code != 0
    with hermetic_package.connect(project) as h, h.open("dataset/more@1", purpose="prepare") as file:
        assert file.read().startswith(b"case")


def test_what_was_sealed_meanwhile_is_told(project, hermetic, monkeypatch):
    from hermetic.custody import shredding

    before = shredding.shred_versions

    def slowly(call, request):
        with hermetic_package.connect(project) as h:
            h.seal(b"late", name="dataset/late", data_class="restricted", subjects=["P-17"])
        return before(call, request)

    monkeypatch.setattr(shredding, "shred_versions", slowly)
    dispatch.handler_of.cache_clear()
    done = hermetic("key", "shred", "--subject", "P-17", "--reason", "consent withdrawn")
    dispatch.handler_of.cache_clear()
    assert done.code == 0
    assert "dataset/late@1 holds data of the same subject" in done.err


def test_by_project_and_with_what_was_derived(project, hermetic):
    with hermetic_package.connect(project) as h:
        h.seal(b"made of it", name="features/x", data_class="restricted", parents=["dataset/more@1"], subjects=["P-99"])
    plan = hermetic("key", "shred", "--subject", "P-18", "--with-derived", "--dry-run", "--json").json
    assert plan["refs"] == ["dataset/cases@1", "dataset/more@1", "features/x@1"]
    assert hermetic("key", "shred", "--subject", "P-99", "--dry-run", "--json").json["refs"] == ["features/x@1"]
    done = hermetic("key", "shred", "--project", "clinic", "--reason", "the study is over", "--json")
    assert len(done.json["refs"]) == 4


def test_only_packages_that_were_made_can_be_said_to_be_gone(project, hermetic):
    refused = hermetic("key", "package-destroyed", "a" * 26, "--reason", "they said so")
    assert refused.code == 1
    assert "no package" in refused.err
    assert hermetic("key", "package-destroyed", "a" * 26).code == 2


def test_what_is_no_subject_is_refused(project, hermetic):
    assert hermetic("key", "shred", "--subject", " ", "--dry-run").code == 2
    assert hermetic("key", "shred").code == 2
    assert hermetic("seal", "cases.csv", "--as", "dataset/x", "--class", "internal", "--subject", "a\nb").code == 2
