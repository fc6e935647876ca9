"""CLIP's own text encoder, by the optional package `transformers`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikeclip.errors import RefusedInput

FILES = (
    (("config.json",),),
    (("model.safetensors",), ("model.safetensors.index.json",), ("pytorch_model.bin",)),
    (("tokenizer.json",), ("vocab.json", "merges.txt")),
)
"""What a folder has to hold: of each group, all files of one of the alternatives."""


class ClipText:
    """`W · eot(transformer(tokens(sentence)))`: the text half of a CLIP, from a folder or by its name on the hub.

    Attributes:
        clip: the name of the CLIP, or what the folder's `config.json` says that it is, else the folder's name.

    Raises:
        RefusedInput: `transformers` is not installed, or there is no complete CLIP of that name.
    """

    def __init__(self, name_or_folder: str) -> None:
        try:
            from transformers import AutoTokenizer, CLIPModel
            from transformers.utils import logging
        except ImportError as error:
            raise RefusedInput(
                f"CLIP {name_or_folder!r}: reading it takes the package transformers, which is not installed "
                "(pip install transformers)"
            ) from error
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        local = Path(name_or_folder).is_dir()
        self.clip = _name_of(Path(name_or_folder)) if local else name_or_folder
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(name_or_folder, local_files_only=local)
            self._model, report = CLIPModel.from_pretrained(
                name_or_folder, local_files_only=local, output_loading_info=True, dtype=torch.float32
            )
        except Exception as error:  # transformers raises whatever its files and the network lead it to
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise RefusedInput(f"CLIP {name_or_folder!r}: not a readable CLIP with its tokenizer ({reason})") from error
        wrong = sorted([*report["missing_keys"], *(str(name) for name in report["mismatched_keys"])])
        if wrong:
            raise RefusedInput(f"CLIP {name_or_folder!r}: tensor {wrong[0]} is missing or misshapen")
        self._model.eval()

    @torch.no_grad()
    def text_features(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of `sentences`, which are cut at CLIP's 77 tokens: float32 `[N, D]`."""
        length = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(list(sentences), padding=True, truncation=True, max_length=length, return_tensors="pt")
        embedding: Tensor = self._model.text_projection(self._model.text_model(**tokens).pooler_output)
        return embedding.numpy()


def _name_of(folder: Path) -> str:
    """What the folder's configuration calls it.

    Files are looked for first: without its own, a tokenizer is made up and nothing said.
    """
    for alternatives in FILES:
        if not any(all((folder / name).is_file() for name in files) for files in alternatives):
            expected = " or ".join(" and ".join(files) for files in alternatives)
            raise RefusedInput(f"CLIP {str(folder)!r}: has no {expected}; expected a CLIP that transformers saved")
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise RefusedInput(f"CLIP {str(folder)!r}: its config.json is not readable ({error})") from error
    name = config.get("_name_or_path") if isinstance(config, dict) else None
    return name if isinstance(name, str) and name else folder.resolve().name
