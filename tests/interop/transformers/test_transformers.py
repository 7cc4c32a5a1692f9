"""transformers: models and tokenizers, the Trainer's checkpoints, resuming; and nothing of it in plaintext on a disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hermetic.errors import IntegrityError, InvalidName, UsageError
from hermetic.integrations.transformers import SealedCheckpoints, load_model, load_tokenizer, save_model

NAME = "checkpoint/risk"
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def small(kind=BertForSequenceClassification, planted="", **more):
    torch.manual_seed(3)
    config = BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=40,
        max_position_embeddings=32,
        **more,
    )
    model = kind(config)
    raw = torch.frombuffer(bytearray(planted.encode() or b"x"), dtype=torch.uint8).clone()
    model.register_buffer("planted", raw)
    return model


def tokenizer_with(word):
    words = {"[UNK]": 0, "[PAD]": 1, word: 2, "yes": 3}
    made = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]")


class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return {"input_ids": torch.arange(8) + index % 4, "attention_mask": torch.ones(8, dtype=torch.long), "labels": index % 2}


class SealedTrainer(SealedCheckpoints, Trainer):
    pass


class Steps(TrainerCallback):
    def __init__(self):
        self.seen = []

    def on_step_end(self, args, state, control, **_):
        self.seen.append(state.global_step)


def trainer(kind=SealedTrainer, planted="", *, steps=8, output="", **more):
    arguments = TrainingArguments(
        output_dir=output, max_steps=steps, per_device_train_batch_size=4, save_steps=4, logging_steps=100, report_to="none",
        use_cpu=True, disable_tqdm=True, seed=5, **more.pop("arguments", {}),
    )  # fmt: skip
    sealed = {"sealed_as": NAME, "sealed_data_class": "internal"} if kind is SealedTrainer else {}
    watch = Steps()
    made = kind(model=small(planted=planted), args=arguments, train_dataset=Data(), callbacks=[watch], **sealed, **more)
    return made, watch


@pytest.mark.parametrize("kind", [AutoModelForSequenceClassification, BertForSequenceClassification])
def test_models_and_tokenizers(real, traces, nothing_left, kind):
    model, tokenizer = small(planted=traces.text), tokenizer_with(traces.text)

    def plain():
        model.save_pretrained("plain")
        tokenizer.save_pretrained("plain")

    def sealed():
        with real.run("train", purpose="train"):
            save_model(model, "model/risk", tokenizer=tokenizer, data_class="internal")
            again = load_model(kind, "model/risk@1")
            assert load_tokenizer("model/risk")(f"yes {traces.text}")["input_ids"] == [3, 2]
        assert isinstance(again, BertForSequenceClassification)
        for name, tensor in again.state_dict().items():
            assert torch.equal(tensor, model.state_dict()[name])

    nothing_left(plain=plain, sealed=sealed)


def test_tied_weights_and_other_classes(real):
    model = small(BertForMaskedLM)
    save_model(model, "model/words", data_class="internal")
    again = load_model(BertForMaskedLM, "model/words")
    assert again.cls.predictions.decoder.weight.data_ptr() == again.bert.embeddings.word_embeddings.weight.data_ptr()
    assert torch.equal(again.cls.predictions.decoder.weight, model.cls.predictions.decoder.weight)
    assert torch.equal(
        load_model(AutoModel, "model/words").encoder.layer[0].output.dense.bias, model.bert.encoder.layer[0].output.dense.bias
    )
    with pytest.raises(UsageError, match="not run"):
        load_model(AutoModel, "model/words", trust_remote_code=True)
    real.seal_tensors({"w": torch.ones(2)}, name="model/bare", data_class="internal")
    with pytest.raises(UsageError, match=r"no config\.json"):
        load_model(AutoModel, "model/bare")


def test_the_trainer_resumes_and_leaves_no_trace(real, traces, nothing_left):
    whole, _ = trainer(planted=traces.text)

    def plain():
        trainer(Trainer, traces.text, steps=4, output="plain")[0].train()

    def sealed():
        with real.run("train", purpose="train") as run:
            whole.train()
            assert whole.sealed == {4: f"{NAME}@1", 8: f"{NAME}@2"}
            assert real.show(NAME).run == run.id
            again, watch = trainer(planted=traces.text)
            again.train(resume_from_checkpoint=f"{NAME}@1")
            assert watch.seen == [5, 6, 7, 8]
            again.save_model("model/trained")
        for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
            assert torch.equal(one, other)
        assert "training_args.bin" not in [member.path for member in real.members("model/trained")]
        assert isinstance(load_model(AutoModelForSequenceClassification, "model/trained"), BertForSequenceClassification)

    nothing_left(plain=plain, sealed=sealed)


def test_training_that_fails_is_resumed_from_the_newest(real, domain):
    class Failing(Steps):
        def on_step_end(self, args, state, control, **_):
            super().on_step_end(args, state, control)
            if state.global_step == 6:
                raise ZeroDivisionError

    first, _ = trainer()
    first.add_callback(Failing())
    with pytest.raises(ZeroDivisionError), real.run("train", purpose="train"):
        first.train()
    second, watch = trainer()
    second.train(resume_from_checkpoint=True)
    assert watch.seen == [5, 6, 7, 8]
    (path, *_) = sorted((domain / "sealed" / real.show(NAME).version).glob("*.sealed"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match="not what was published"):
        trainer()[0].train(resume_from_checkpoint=True)


def test_the_best_model_is_loaded_at_the_end(real):
    wanted = {
        "eval_strategy": "steps",
        "eval_steps": 4,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "save_total_limit": 1,
    }
    made, _ = trainer(arguments=wanted, eval_dataset=Data())
    made.train()
    assert made.state.best_model_checkpoint == made.sealed[made.state.best_global_step]
    best = load_model(BertForSequenceClassification, made.state.best_model_checkpoint)
    for one, other in zip(best.parameters(), made.model.parameters(), strict=True):
        assert np.array_equal(one.detach().numpy(), other.detach().numpy())


def test_what_would_leave_plaintext_is_refused(real):
    with pytest.raises(UsageError, match="push_to_hub"):
        trainer(arguments={"push_to_hub": True})
    with pytest.raises(UsageError, match="needs args"):
        SealedTrainer(model=small(), sealed_as=NAME)
    made, _ = trainer()
    for path in (None, "plain", "./model/x/../y"):
        with pytest.raises(InvalidName):
            made.save_model(path)
