"""Lightning's Trainer: checkpoints sealed, found again by path and by reference, resumed from, and nowhere in plaintext."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import AsyncCheckpointIO
from torch.utils.data import DataLoader, TensorDataset

from hermetic.errors import IntegrityError, NotFound
from hermetic.integrations import process
from hermetic.integrations.lightning import SealedCheckpointIO
from hermetic.integrations.torch import SealedLoader, SealedRecords
from tests.unit.assets.real import domain, domain_template, real  # noqa: F401 - fixtures

NAME = "checkpoint/risk"
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning"),
]


@pytest.fixture(autouse=True)
def surroundings(real, traces, domain, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HERMETIC_PURPOSE", "train")
    monkeypatch.chdir(domain)
    yield
    for found in list(process._known.values()):
        found.close()
    process._known.clear()


class Model(LightningModule):
    """One linear layer, and a text in the state dict by which it can be found on a disk."""

    def __init__(self, planted=""):
        super().__init__()
        self.save_hyperparameters("planted")
        self.layer = torch.nn.Linear(4, 1)
        self.steps = []

    def training_step(self, batch, _):
        self.steps.append(self.global_step)
        loss = self.layer(batch[0]).pow(2).mean()
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def data():
    return DataLoader(TensorDataset(torch.arange(64, dtype=torch.float32).view(16, 4)), batch_size=4)


def trainer(epochs, plugin=None, **options):
    where = {} if plugin is None else {"plugins": [plugin]}
    saving = ModelCheckpoint(dirpath=f"hermetic://{NAME}" if plugin else "plain", save_top_k=2, monitor="loss", save_last=True)
    return Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, callbacks=[saving], enable_progress_bar=False, enable_model_summary=False,
        **where, **options,
    )  # fmt: skip


def plugin():
    return SealedCheckpointIO(NAME, data_class="internal")


def test_training_resumes_and_leaves_no_trace(real, traces, nothing_left):  # noqa: F811
    def plain():
        trainer(1).fit(Model(traces.text), data())

    def sealed():
        with real.run("train", purpose="train"):
            first = trainer(2, plugin())
            first.fit(Model(traces.text), data())
            latest = real.latest_good(NAME).ref
            model = Model(traces.text)
            second = trainer(3, plugin())
            second.fit(model, data(), ckpt_path=latest)
            assert model.steps == [8, 9, 10, 11]
            best = second.checkpoint_callback.best_model_path
            assert f"epoch={plugin().load_checkpoint(best)['epoch']}-" in best
            assert plugin().load_checkpoint(f"hermetic://{latest}")["global_step"] == 8

    nothing_left(plain=plain, sealed=sealed)
    assert real.show(NAME).number >= 3


def test_a_checkpoint_is_there_although_training_fails(real):  # noqa: F811
    class Failing(Model):
        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), real.run("train", purpose="train"):
        trainer(3, plugin()).fit(Failing(), data())
    model = Model()
    trainer(2, plugin()).fit(model, data(), ckpt_path=real.latest_good(NAME).ref)
    assert model.steps == [4, 5, 6, 7]


def test_a_sealed_loader_goes_on_in_mid_epoch(real):  # noqa: F811
    rows = np.arange(64 * 4, dtype=np.float32)
    real.seal(rows.tobytes(), name="dataset/rows", data_class="internal", purpose="ingest")
    seen = []

    class Watching(Model):
        def training_step(self, batch, number):
            seen.extend(batch[:, 0].tolist())
            return super().training_step([batch], number)

    def loader():
        records = SealedRecords("dataset/rows@1", dtype=torch.float32, shape=(4,))
        return SealedLoader(records, batch_size=4, shuffle=True, seed=1, block_bytes=64)

    def fit(steps, ckpt_path=None):
        saving = ModelCheckpoint(dirpath=f"hermetic://{NAME}", every_n_train_steps=2, save_top_k=-1)
        made = Trainer(
            max_steps=steps, accelerator="cpu", logger=False, callbacks=[saving], enable_progress_bar=False,
            enable_model_summary=False, plugins=[plugin()],
        )  # fmt: skip
        made.fit(Watching(), loader(), ckpt_path=ckpt_path)

    fit(32)
    whole = seen[:]
    assert sorted(whole[:64]) == sorted(whole[64:]) == rows[::4].tolist()
    for stop in (6, 16, 22):
        seen.clear()
        fit(stop)
        fit(32, real.latest_good(NAME).ref)
        assert seen == whole


def test_saving_in_the_background(real):  # noqa: F811
    made = trainer(2, AsyncCheckpointIO(plugin()))
    with real.run("train", purpose="train"):
        made.fit(Model(), data())
        made.strategy.checkpoint_io.teardown()
    assert plugin().load_checkpoint(NAME)["global_step"] == 8


def test_a_tampered_checkpoint_is_refused(real, domain):  # noqa: F811
    trainer(1, plugin()).fit(Model(), data())
    (path,) = (domain / "sealed" / real.show(NAME).version).glob("*.sealed")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    with pytest.raises(IntegrityError):
        real.latest_good(NAME)
    with pytest.raises(IntegrityError):
        trainer(2, plugin()).fit(Model(), data(), ckpt_path=f"{NAME}@{real.show(NAME).number}")
    with pytest.raises(NotFound, match="was saved as"):
        plugin().load_checkpoint("plain/last.ckpt")
