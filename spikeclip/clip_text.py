"""CLIP, its tokenizer and its own text encoder, by the optional package `transformers`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeclip.errors import RefusedInput

CONFIGURATION = (("config.json",),)
WEIGHTS = (("model.safetensors",), ("model.safetensors.index.json",), ("pytorch_model.bin",))
VOCABULARY = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Files that a folder has to hold: of each group, all of one of the alternatives."""


class ClipTokenizer:
    """Sentences to the numbers of CLIP's tokens: the tokenizer of a CLIP, from a folder or by its name on the hub.

    Attributes:
        clip: the name of the CLIP, or what the folder's `config.json` says that it is, else the folder's name.
        vocabulary: how many tokens it tells apart.
        sha256: of its tokens and their numbers.

    Raises:
        RefusedInput: `transformers` is not installed, or there is no tokenizer of that name.
    """

    def __init__(self, name_or_folder: str) -> None:
        transformers = _transformers(name_or_folder)
        folder = Path(name_or_folder)
        local = folder.is_dir()
        self.clip = _name_of(folder, CONFIGURATION, VOCABULARY) if local else name_or_folder
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(name_or_folder, local_files_only=local)
        except Exception as error:  # transformers raises whatever its files and the network lead it to
            raise _unreadable(name_or_folder, "tokenizer") from error
        numbers = self._tokenizer.get_vocab()
        self.vocabulary = len(numbers)
        self.sha256 = hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def __call__(self, sentences: Sequence[str], length: int) -> NDArray[np.int64]:
        """Tokens of `sentences`, cut or filled up to `length`: int64 `[N, length]`."""
        return self.encode(sentences, padding="max_length", truncation=True, max_length=length)["input_ids"].numpy()

    def encode(self, sentences: Sequence[str], **options: Any) -> dict[str, Tensor]:
        """The inputs of CLIP's own text encoder, `input_ids` and `attention_mask`: int64 `[N, L]`."""
        return self._tokenizer(list(sentences), return_tensors="pt", **options)


class ClipText:
    """`W · eot(transformer(tokens(sentence)))`: the text half of a CLIP, from a folder or by its name on the hub.

    Attributes:
        clip: as `ClipTokenizer` has it.
        tokenizer: of its sentences.

    Raises:
        RefusedInput: `transformers` is not installed, or there is no complete CLIP of that name.
    """

    def __init__(self, name_or_folder: str) -> None:
        self._model = load_clip(name_or_folder, VOCABULARY)
        self.tokenizer = ClipTokenizer(name_or_folder)
        self.clip = self.tokenizer.clip

    @torch.no_grad()
    def text_features(self, sentences: Sequence[str], length: int | None = None) -> NDArray[np.float32]:
        """Embeddings of `sentences`, which are cut at `length` tokens, by default CLIP's 77: float32 `[N, D]`."""
        length = length or self._model.config.text_config.max_position_embeddings
        tokens = self.tokenizer.encode(sentences, padding=True, truncation=True, max_length=length)
        embedding: Tensor = self._model.text_projection(self._model.text_model(**tokens).pooler_output)
        return embedding.numpy()

    def tables(self) -> tuple[Tensor, Tensor]:
        """CLIP's embeddings of tokens and of positions: float32 `[vocabulary, W]` and `[positions, W]`."""
        embeddings = self._model.text_model.embeddings
        return embeddings.token_embedding.weight, embeddings.position_embedding.weight


def load_clip(name_or_folder: str, *others: tuple[tuple[str, ...], ...]) -> Any:
    """The `CLIPModel` of transformers in a folder or of that name on the hub: in float32, to be evaluated.

    Args:
        name_or_folder: as of `ClipTokenizer`.
        others: files that a folder has to hold beside its configuration and weights.

    Raises:
        RefusedInput: `transformers` is not installed, or there is no complete CLIP of that name.
    """
    transformers = _transformers(name_or_folder)
    folder = Path(name_or_folder)
    local = folder.is_dir()
    if local:
        _name_of(folder, CONFIGURATION, WEIGHTS, *others)
    try:
        model, report = transformers.CLIPModel.from_pretrained(
            name_or_folder, local_files_only=local, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # as above
        raise _unreadable(name_or_folder, "CLIP") from error
    wrong = sorted([*report["missing_keys"], *(str(name) for name in report["mismatched_keys"])])
    if wrong:  # transformers makes up what it doesn't find
        raise RefusedInput(f"CLIP {name_or_folder!r}: tensor {wrong[0]} is missing or misshapen")
    return model.eval().requires_grad_(False)


def _transformers(name: str) -> ModuleType:
    try:
        import transformers
        from transformers.utils import logging
    except ImportError as error:
        raise RefusedInput(
            f"CLIP {name!r}: reading it takes the package transformers, which is not installed "
            "(pip install transformers)"
        ) from error
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return transformers


def _unreadable(name: str, what: str) -> RefusedInput:
    """The refusal of a CLIP that can't be read, in our words: those of transformers are pages long."""
    path = Path(name)
    if path.is_dir():
        return RefusedInput(f"CLIP {name!r}: holds no readable {what}; expected a CLIP that transformers saved")
    if path.exists():
        return RefusedInput(f"CLIP {name!r}: is a file; expected the folder of a CLIP that transformers saved")
    return RefusedInput(
        f"CLIP {name!r}: no such folder, and no {what} of that name was found on the hub, which may be out of reach; "
        "expected a folder, or a name such as openai/clip-vit-base-patch16"
    )


def _name_of(folder: Path, *needed: tuple[tuple[str, ...], ...]) -> str:
    """The name of the CLIP in a folder, as its configuration says it.

    Files are looked for first: without its own, a tokenizer is made up and nothing said.
    """
    for alternatives in needed:
        if not any(all((folder / name).is_file() for name in files) for files in alternatives):
            expected = " or ".join(" and ".join(files) for files in alternatives)
            raise RefusedInput(f"CLIP {str(folder)!r}: has no {expected}; expected a CLIP that transformers saved")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RefusedInput(f"CLIP {str(folder)!r}: its config.json is no readable JSON") from error
    name = config.get("_name_or_path") if isinstance(config, dict) else None
    return name if isinstance(name, str) and name else folder.resolve().name
