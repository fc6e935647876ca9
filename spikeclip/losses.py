"""The losses: cross-entropy over labels, alignment to a teacher's features, and the dual loss of both."""

import torch.nn.functional as F
from torch import Tensor


def alignment_loss(embeddings: Tensor, features: Tensor) -> Tensor:
    """`mean_b (1 - cos(e_b, f_b))` of the student's embeddings e and the teacher's image features f.

    Shapes: float `[B, D]` twice to float `[]`.
    """
    return (1 - F.cosine_similarity(embeddings, features, dim=1)).mean()


def divergence(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """`τ² mean_b Σ_c p_bc (ln p_bc - ln q_bc)` with `p = softmax(teacher / τ)` and `q = softmax(student / τ)`.

    This is KL(teacher ‖ student): the paper writes KL(student ‖ teacher), its code computes what stands here.  The
    factor keeps the gradient's size when τ changes (Hinton et al., arXiv 1503.02531).

    Shapes: float `[B, C]` twice to float `[]`.
    """
    q = F.log_softmax(logits / temperature, dim=1)
    p = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)


def dual_loss(
    logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    weight: float = 1.0,
    temperature: float = 1.0,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`CE(student, labels) + weight · KL(teacher ‖ student)`, both means over the batch.

    The published loss adds up the divergence over the batch instead: `weight` is then the batch size.

    Shapes: float `[B, C]` twice and int64 `[B]` to float `[]`.
    """
    entropy = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    return entropy + weight * divergence(logits, teacher_logits, temperature)
