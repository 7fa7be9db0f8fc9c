"""The objective of pre-training, mid-training and fine-tuning: the next token, weighted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from ...models.cost import training_flops_per_token
from ...models.decoder import Decoder
from ...models.ffn import MixtureOfExperts
from ..seeds import named_seed
from .objective import Batch


class Source(Protocol):
    """Where sequences come from; their order is a function of the seed, so that a position in it is one number."""

    def batch(self, seed: int, start: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs [size, T], targets (-100 where none) and their weights of sequences `start` ... of a seed's order."""
        ...


@dataclass(frozen=True)
class NextTokenConfig:
    """batch: sequences a step.

    mtp_weight: of the MTP losses' mean (DeepSeek-V3 uses 0.3, then 0.1). balance_weight: of the auxiliary loss of
    routers without a bias (Switch, arXiv 2101.03961, equation 4). z_weight: of the squared logarithm of the softmax's
    denominator, which keeps logits from drifting (PaLM, arXiv 2204.02311, section 5: 1e-4; OLMo 2 1e-5), in gradients
    alone: what is reported stays the cross-entropy; 0 is none. document_mask: whether documents that are packed into
    one sequence do not see one another; otherwise each sees those before it.
    """

    kind: Literal["next-token"] = "next-token"
    batch: int = 8
    mtp_weight: float = 0.1
    balance_weight: float = 0.01
    z_weight: float = 0.0
    document_mask: bool = False


class NextToken:
    """Cross-entropy of the next token, in nats per counted token.

    end_of_text: the token that opens a document, for `document_mask`.
    """

    def __init__(self, source: Source, config: NextTokenConfig, seed: int, end_of_text: int | None = None) -> None:
        self.source, self.config = source, config
        self._end_of_text = end_of_text if config.document_mask else None
        self._seed = named_seed(seed, "order")

    def batch(self, model: Decoder, step: int) -> Batch:
        """Sequences step * batch ... of the order."""
        size = self.config.batch
        ids, targets, weights = self.source.batch(self._seed, step * size, size)
        tokens = ids.numel()
        return Batch({"ids": ids, "targets": targets, "weights": weights}, float(weights.sum()), tokens,
                     tokens * training_flops_per_token(model.spec, ids.shape[1]))

    def loss(self, model: Decoder, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Next token, the MTP layers' further ones, and the balance of routers without a bias."""
        config = self.config
        weights = part.rows["weights"]
        loss, further = model.losses(part.rows["ids"], part.rows["targets"], weights, z_weight=config.z_weight,
                                     end_of_text=self._end_of_text)
        share = weights.sum() / max(part.total, 1.0)
        objective, numbers = loss * share, {"loss": loss.detach() * share}
        if further:
            # Over all counted tokens (DeepSeek-V3, equation 24), so that the parts of a batch add up.
            shares = [weights[:, depth:].sum() / max(part.total, 1.0) for depth in range(1, len(further) + 1)]
            mtp = torch.stack([one * its for one, its in zip(further, shares, strict=True)]).mean()
            objective = objective + config.mtp_weight * mtp
            numbers["mtp"] = mtp.detach()
        balances = [module.balance for module in model.modules()
                    if isinstance(module, MixtureOfExperts) and module.balance is not None]
        if balances:
            balance = torch.stack(balances).sum() * (part.rows["ids"].numel() / part.tokens)
            objective = objective + config.balance_weight * balance
            numbers["balance"] = balance.detach() / len(balances)
        return objective, numbers
