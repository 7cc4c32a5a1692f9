import pytest

from hermetic.bench import shape
from hermetic.errors import NotFound, UsageError


def test_the_default_is_a_few_shards_of_all_bytes():
    assert shape.default(1001).sizes == (251, 250, 250, 250)
    assert shape.default(2).sizes == (1, 1)


def test_a_shape_is_scaled():
    found = shape.of_sizes("like dataset/x", [100, 300, 0], total=40)
    assert (found.sizes, found.total, found.source) == ((10, 30, 0), 40, None)


def test_synthetic_files_have_the_sizes_and_nothing_repeats(tmp_path):
    found = shape.of_sizes("x", [3 * shape.MIB + 5, 0, 7])
    folder = shape.write(found, tmp_path / "input")
    files = sorted(folder.iterdir())
    assert [file.stat().st_size for file in files] == [3 * shape.MIB + 5, 0, 7]
    content = files[0].read_bytes()
    parts = {content[at : at + shape.MIB] for at in range(0, len(content), shape.MIB)}
    assert len(parts) == 4


def test_a_file_is_only_named(tmp_path):
    own = tmp_path / "model.bin"
    own.write_bytes(b"weights")
    (tmp_path / "link").symlink_to(own)  # model hubs keep files behind links
    found = shape.of_path(tmp_path / "link")
    assert (found.label, found.sizes, found.source) == ("link", (7,), own)
    assert shape.write(found, tmp_path / "input") == own
    assert not (tmp_path / "input").exists()


def test_what_cannot_be_measured(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="is empty"):
        shape.of_path(tmp_path / "empty")
    with pytest.raises(NotFound):
        shape.of_path(tmp_path / "nothing")
    with pytest.raises(UsageError, match="is empty"):
        shape.of_sizes("like dataset/x", [0, 0])
