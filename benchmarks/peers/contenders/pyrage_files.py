"""pyrage: rage, the Rust age, through Python; X25519 recipient."""

import pyrage


def seal(folder, _variant):
    key = folder / "pyrage.key"
    if not key.exists():
        key.write_text(str(pyrage.x25519.Identity.generate()))
    public = pyrage.x25519.Identity.from_str(key.read_text()).to_public()
    return lambda: pyrage.encrypt_file(str(folder / "weights.safetensors"), str(folder / "sealed"), [public])


def open(folder, _variant):  # noqa: A001
    identity = pyrage.x25519.Identity.from_str((folder / "pyrage.key").read_text())
    return lambda: pyrage.decrypt_file(str(folder / "sealed"), str(folder / "back"), [identity])
