"""What a model is, for people and for programs."""

from __future__ import annotations

from typing import Any

from ..models.cost import parameters
from ..models.model import Model
from ..models.report.describe import attention_in_words
from ..models.spec import LatentAttention, MoE

POCKET = ("a published architecture at pocket size, trained here from random weights; "
          "it is not the company's model and shares no weights with it")
PUBLISHED = "a published checkpoint, run here with the weights that it came with"


def about(loaded: Model) -> dict[str, Any]:
    """Team, company, architecture and training figures of a model, as JSON data."""
    spec, card, family = loaded.spec, loaded.card, loaded.family
    counted = parameters(spec)
    return {
        "team": card.get("team") or (family.title if family else spec.name),
        "company": card.get("company") or (family.company if family else ""),
        "family": family.name if family else "", "architecture": architecture(loaded, "en"),
        "attention": attention_in_words(spec),
        "parameters": counted.total, "active_parameters": counted.active, "context": spec.context,
        "layers": len(spec.layers), "statement": POCKET if "family" in card else PUBLISHED,
        **{key: card[key] for key in ("season", "stage", "seed", "tokens", "flops", "rank") if key in card},
    }


def architecture(loaded: Model, lang: str) -> str:
    """The architecture in a few words, in Korean or English."""
    layers = loaded.spec.layers
    latent = any(isinstance(layer.mixer, LatentAttention) for layer in layers)
    windows = [layer.mixer.window for layer in layers]
    local = sum(window is not None for window in windows)
    experts = next((layer.ffn for layer in layers if isinstance(layer.ffn, MoE)), None)
    if lang == "ko":
        words = ["잠재 어텐션(MLA)" if latent else "그룹 질의 어텐션(GQA)"]
        if local:
            words.append(f"{len(layers)}개 층 중 {local}개는 가까운 {max(w for w in windows if w)}토큰만 봄")
        words.append(f"전문가 {experts.experts}개 중 {experts.active}개 사용" if experts else "전문가 혼합 없음")
    else:
        words = ["latent attention (MLA)" if latent else "grouped-query attention (GQA)"]
        if local:
            words.append(f"{local} of {len(layers)} layers see only the last {max(w for w in windows if w)} tokens")
        words.append(f"{experts.active} of {experts.experts} experts per token" if experts else "dense")
    return " · ".join(words)
