"""Hugging Face transformers on sealed versions: models, tokenizers, and the Trainer's checkpoints.

    save_model(model, "model/risk", tokenizer=tokenizer, data_class="confidential")
    model = load_model(AutoModelForSequenceClassification, "model/risk@3")
    tokenizer = load_tokenizer("model/risk@3")
    rows = load_dataset("dataset/notes@1")              # what Dataset.save_to_disk("hermetic://dataset/notes") wrote in a run

    class MyTrainer(SealedCheckpoints, Trainer): ...
    trainer = MyTrainer(model=model, args=TrainingArguments(output_dir=""), train_dataset=data, sealed_as="checkpoint/risk")
    trainer.train()                                     # each checkpoint is a version, published when it is complete
    trainer.train(resume_from_checkpoint=True)          # from the newest one, verified whole first; or "checkpoint/risk@3"

The Trainer and save_pretrained write to paths only. They get a private folder in memory (a tmpfs, mode 0700), whose content is sealed
and removed at once; where the system has none, they are refused. A process that is killed just then leaves the folder in memory until
the next one sweeps it. What is loaded has no name on any disk (`assets.in_memory`).

Callbacks and report_to integrations write where they like: `TrainingArguments(report_to="none")`.
"""

from __future__ import annotations

import json
import shutil
import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermetic.assets.checkpoints import latest_good
from hermetic.assets.current import read_so_far
from hermetic.assets.in_memory import memory_path
from hermetic.assets.private_tmp import is_in_memory, private_folder
from hermetic.assets.releases import release
from hermetic.assets.sealing import SealedVersion, Terms, seal
from hermetic.assets.tensors import loading, saving
from hermetic.errors import FormatError, Unsupported, UsageError
from hermetic.ids import AssetName
from hermetic.integrations.process import attached

try:
    import transformers
except ModuleNotFoundError as error:
    raise Unsupported(f"{error.name} is not installed", hint="pip install '.[transformers]'") from None

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.assets.session import Session
    from hermetic.ids import DataClass

WEIGHTS, CONFIG, GENERATION = "model.safetensors", "config.json", "generation_config.json"
_CONFIG_LIMIT = 16 * 1024 * 1024


def save_model(
    model: Any, name: str, *, tokenizer: Any = None, data_class: DataClass | str | None = None, project: str | None = None
) -> SealedVersion:
    """Publish weights, configuration and tokenizer as one version; the weights go from the model's own memory into the object."""
    files = attached(project)
    beside = {CONFIG: model.config.to_json_string(use_diff=False).encode()}
    if getattr(model, "generation_config", None) is not None:
        beside[GENERATION] = model.generation_config.to_json_string().encode()
    if tokenizer is not None:
        beside |= _saved(tokenizer.save_pretrained)
    terms = Terms(name=name, data_class=data_class)
    sealed = saving.save(files.session, _weights(model), terms, member=WEIGHTS, metadata={"format": "pt"}, files=beside)
    files.published(name)
    return sealed


def load_model(kind: Any, ref: str, *, purpose: str | None = None, project: str | None = None, **options: Any) -> Any:
    """Return a model of `kind`, an Auto class or one of transformers' own; `options` are those of from_pretrained.

    Raises UsageError for a version without config.json, IntegrityError, PolicyDenied. No code of a version is ever run.
    """
    if options.pop("trust_remote_code", False):
        raise UsageError("code that comes with a model is not run", hint="import the model's class yourself and name it")
    session = attached(project).session
    with release(session, (ref,), purpose=purpose)[0] as version:
        exact = version.ref
        if CONFIG not in {member.path for member in version.members}:
            raise UsageError(f"{exact} has no {CONFIG}", hint="seal it with save_model, or load its tensors with h.load_tensors")
        with version.open(CONFIG) as file:
            config = _config(file.read(_CONFIG_LIMIT), exact)
    tensors = loading.load(session, exact, loading.Form("torch", "cpu", None), purpose=purpose)
    return _concrete(kind, config).from_pretrained(None, config=config, state_dict=tensors, **options)


def load_tokenizer(ref: str, *, purpose: str | None = None, project: str | None = None, **options: Any) -> Any:
    """Return the tokenizer of a version."""
    with memory_path(attached(project).session, ref, purpose=purpose) as folder:
        return transformers.AutoTokenizer.from_pretrained(str(folder), **options)


def load_dataset(ref: str, *, purpose: str | None = None, project: str | None = None) -> Any:
    """Return a Dataset in memory, so that neither it nor what map and filter make of it is cached on a disk."""
    try:
        import datasets  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise Unsupported(f"{error.name} is not installed", hint="pip install '.[transformers]'") from None
    with memory_path(attached(project).session, ref, purpose=purpose) as folder:
        return datasets.load_from_disk(str(folder), keep_in_memory=True)


class SealedCheckpoints:
    """Put before Trainer in a class's bases; see the module's text. `sealed_as` names the asset that checkpoints are versions of.

    `sealed_data_class` is for a new asset outside of rules. The Trainer's output_dir is replaced by a private folder in memory.
    """

    def __init__(
        self,
        *given: Any,
        sealed_as: str,
        sealed_data_class: DataClass | str | None = None,
        sealed_purpose: str | None = None,
        **more: Any,
    ) -> None:
        self._files = attached(None)
        self._terms = Terms(name=str(AssetName.parse(sealed_as)), data_class=sealed_data_class)
        self._sealed_purpose = sealed_purpose
        self.sealed: dict[int, str] = {}  # references by step
        stack = ExitStack()
        weakref.finalize(self, stack.close)
        folder = str(stack.enter_context(_memory_folder()))
        arguments = more.get("args") or next((item for item in given if isinstance(item, transformers.TrainingArguments)), None)
        if arguments is None:
            raise UsageError("a Trainer whose checkpoints are sealed needs args", hint='args=TrainingArguments(output_dir="")')
        if arguments.push_to_hub:
            raise UsageError("push_to_hub would publish plaintext", hint="seal the model, and share it as a package")
        arguments.output_dir = folder
        super().__init__(*given, **more)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Have a checkpoint written to memory, seal it, remove it."""
        super()._save_checkpoint(model, trial)  # type: ignore[misc]  # Trainer's
        with _emptied(Path(self.args.output_dir)) as folders:  # type: ignore[attr-defined]  # Trainer's
            for folder in folders:
                step = int(folder.name.rpartition("-")[2])
                self.sealed[step] = _seal_folder(self._files.session, folder, self._terms).ref
        self._files.published(str(self._terms.name))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:  # noqa: FBT001, FBT002 - Trainer's signature
        """Called by the Trainer, write to memory. Called by you, `output_dir` is the asset to publish the model as."""
        if _internal_call:
            super().save_model(output_dir, _internal_call=True)  # type: ignore[misc]  # Trainer's
            return
        name = str(AssetName.parse(output_dir or ""))
        with _memory_folder() as folder:
            super().save_model(str(folder), _internal_call=True)  # type: ignore[misc]  # Trainer's
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle, and nobody's model
            _seal_folder(self._files.session, folder, replace(self._terms, name=name))
        self._files.published(name)

    def train(self, resume_from_checkpoint: str | bool | None = None, **more: Any) -> Any:  # noqa: FBT001 - Trainer's signature
        """Train; `resume_from_checkpoint` is a reference, or True for the newest version, which is verified whole first."""
        if not resume_from_checkpoint:
            return super().train(**more)  # type: ignore[misc]  # Trainer's
        ref = str(resume_from_checkpoint)
        if resume_from_checkpoint is True:
            ref = latest_good(self._files.session, str(self._terms.name)).ref
        with self._unsealed(ref) as folder:
            return super().train(resume_from_checkpoint=str(folder), **more)  # type: ignore[misc]  # Trainer's

    def _load_best_model(self) -> None:
        step = self.state.best_global_step  # type: ignore[attr-defined]  # Trainer's
        if step not in self.sealed:
            raise UsageError(f"the best checkpoint, of step {step}, was not saved by this trainer", hint="load it by its reference")
        with self._unsealed(self.sealed[step]) as folder:
            self.state.best_model_checkpoint = str(folder)  # type: ignore[attr-defined]
            super()._load_best_model()  # type: ignore[misc]
        self.state.best_model_checkpoint = self.sealed[step]  # type: ignore[attr-defined]

    def _unsealed(self, ref: str) -> Any:
        return memory_path(self._files.session, ref, purpose=self._sealed_purpose)


def _weights(model: Any) -> dict[str, Any]:
    """Return the state dict with each shared tensor under the first of its names only: the configuration says which are tied."""
    seen: set[tuple[int, int, tuple[int, ...]]] = set()
    weights = {}
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.storage_offset(), tuple(tensor.stride()))
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        weights[name] = tensor.detach()
    return weights


def _config(raw: bytes, what: str) -> Any:
    try:
        fields = json.loads(raw)
        return transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise FormatError(f"{CONFIG} of {what} describes no model that transformers knows: {error}") from error


def _concrete(kind: Any, config: Any) -> Any:
    """Return the class that an Auto class means by a configuration. Raises UsageError."""
    mapping = getattr(kind, "_model_mapping", None)
    if mapping is None:
        return kind
    try:
        found = mapping[type(config)]
    except KeyError:
        raise UsageError(f"{kind.__name__} knows no model for {type(config).__name__}", hint="name another Auto class") from None
    candidates = found if isinstance(found, list | tuple) else (found,)
    named = [each for each in candidates if each.__name__ in (config.architectures or ())]
    return (named or candidates)[0]


def _saved(write: Any) -> dict[str, bytes]:
    """Return what a function writes to a folder, by path."""
    with _memory_folder() as folder:
        write(str(folder))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _seal_folder(session: Session, folder: Path, terms: Terms) -> SealedVersion:
    outside = session.run_for(None) is None
    return seal(session, folder, replace(terms, read=read_so_far(session.domain) if outside else ()))


@contextmanager
def _memory_folder() -> Iterator[Path]:
    """Give a private folder in memory. Raises Unsupported where the system has none."""
    with private_folder() as folder:
        if not is_in_memory(folder.path):
            raise Unsupported(
                "this system has no /dev/shm in memory", hint="run it as `hermetic run`, as root, or mount a tmpfs there"
            )
        yield folder.path


@contextmanager
def _emptied(folder: Path) -> Iterator[list[Path]]:
    """Give the checkpoints in a folder, and leave none of them whatever happens."""
    found = sorted(folder.glob("checkpoint-*"))
    try:
        yield found
    finally:
        for each in found:
            shutil.rmtree(each)
