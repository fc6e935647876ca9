"""Making label sets: prompt ensembles of a CLIP's text encoder, and unions of sets that are there.  No torch."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from spikeclip.errors import RefusedInput
from spikeclip.labels import LabelSet, different_spaces

TEMPLATES = ("a photo of a {}.",)
"""CLIP's own prompt; `{}` stands for the name."""


class TextEncoder(Protocol):
    """Embeds sentences in CLIP's space.

    Attributes:
        clip: the CLIP whose space it is.
    """

    clip: str

    def text_features(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of `sentences`: float32 `[N, D]`, of any length."""


def prompt_ensemble(encoder: TextEncoder, names: Sequence[str], templates: Sequence[str] = TEMPLATES) -> LabelSet:
    """`v_c = m_c / |m_c|` with `m_c = mean_t u(template_t(name_c))` of unit embeddings u: CLIP's prompt ensemble.

    Args:
        encoder: of the sentences.
        names: of the classes; `_` reads as a space in a sentence.
        templates: sentences with `{}` where the name goes.

    Raises:
        RefusedInput: a name is empty or there twice, there is only one, or a template has no `{}` or more than one.
    """
    names = tuple(names)
    if len(names) < 2 or len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise RefusedInput(f"names are {', '.join(names[:12]) or 'none'}; expected two or more, all different")
    vectors = []
    for sentences in prompts(names, templates):
        found = encoder.text_features(sentences)
        vectors.append((found / np.linalg.norm(found, axis=1, keepdims=True)).mean(0))
    ensemble = np.stack(vectors).astype(np.float32)
    return LabelSet(names, LabelSet(names, ensemble).unit(), encoder.clip)


def prompts(names: Sequence[str], templates: Sequence[str]) -> list[list[str]]:
    """`template_t(name_c)`: the sentences of each name; `_` reads as a space.

    Raises:
        RefusedInput: there is no template, or one has no `{}` or more than one.
    """
    for template in templates:
        if template.count("{}") != 1 or template.count("{") != 1 or template.count("}") != 1:
            raise RefusedInput(f"template {template!r}: expected one {{}} where the name goes")
    if not templates:
        raise RefusedInput("no template; expected at least one sentence with {} where the name goes")
    return [[template.format(name.replace("_", " ")) for template in templates] for name in names]


def union(sets: Sequence[LabelSet]) -> LabelSet:
    """A set of every name of the sets, in their order; a name that is in several has the first one's unit vector.

    Raises:
        RefusedInput: the sets have vectors of different widths or of different CLIPs.
    """
    whole, *others = sets
    whole = LabelSet(whole.names, whole.unit(), whole.clip)
    for other in others:
        check_same_space(whole, other)
        new = [i for i, name in enumerate(other.names) if name not in whole.names]
        names = (*whole.names, *(other.names[i] for i in new))
        vectors = np.concatenate([whole.vectors, other.unit()[new]])
        whole = LabelSet(names, vectors, whole.clip or other.clip)
    return whole


def check_same_space(labels: LabelSet, other: LabelSet) -> None:
    """Refuse two sets whose vectors are of different spaces.

    Raises:
        RefusedInput: their widths differ, or the CLIPs that made them.
    """
    if labels.vectors.shape[1] != other.vectors.shape[1]:
        raise RefusedInput(
            f"label vectors of {other.names[0]}, ... have width {other.vectors.shape[1]}; expected "
            f"{labels.vectors.shape[1]}, as those of {labels.names[0]}, ..."
        )
    if different_spaces(labels.clip, other.clip):
        raise RefusedInput(
            f"label vectors of {other.names[0]}, ... are of CLIP {other.clip}; expected {labels.clip}, as those of "
            f"{labels.names[0]}, ..."
        )
