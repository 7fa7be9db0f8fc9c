"""One release as rows of a table, English or Korean: the same rows serve `compare`, the docs and the drawn page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..cost import cache_bytes_per_token, parameters
from ..families import FAMILIES, Family, Release
from .describe import (
    Lang,
    attention_in_words,
    ffns_in_words,
    multipliers_in_words,
    norms_in_words,
    positions_in_words,
    router_in_words,
    short,
)
from .saving import saving

CACHE_AT = 32_768  # tokens at which tables give the KV cache, so that all models stand at the same length

ROWS: dict[str, dict[Lang, str]] = {
    "team": {"en": "team", "ko": "팀"},
    "parameters": {"en": "parameters", "ko": "매개변수"},
    "active": {"en": "active a token", "ko": "토큰마다 쓰는 수"},
    "layers": {"en": "layers x width", "ko": "층 수 x 폭"},
    "attention": {"en": "attention", "ko": "어텐션"},
    "positions": {"en": "positions", "ko": "위치"},
    "ffn": {"en": "feed-forward", "ko": "피드포워드"},
    "router": {"en": "router", "ko": "라우터"},
    "norms": {"en": "norms", "ko": "정규화"},
    "multipliers": {"en": "multipliers", "ko": "배율"},
    "mtp": {"en": "MTP layers", "ko": "MTP 층"},
    "vocabulary": {"en": "vocabulary", "ko": "어휘"},
    "context": {"en": "context", "ko": "문맥 길이"},
    "cache": {"en": "KV cache, bytes a token at 32K", "ko": "KV 캐시, 32K에서 토큰당 바이트"},
    "saved": {"en": "cache saved by windows at 32K", "ko": "창이 아낀 캐시(32K)"},
    "licence": {"en": "licence", "ko": "라이선스"},
    "reference": {"en": "reference", "ko": "참조 구현"},
}


@dataclass(frozen=True)
class Entry:
    """A release and the family it is of."""

    family: Family
    release: Release


def entries() -> list[Entry]:
    """Every release of every family, teams together, in the order in which teams first appear."""
    teams = list(dict.fromkeys(found.company for found in FAMILIES.values()))
    found = [Entry(one, item) for one in FAMILIES.values() for item in one.releases]
    return sorted(found, key=lambda entry: teams.index(entry.family.company))


def facts(entry: Entry, lang: Lang = "en") -> dict[str, str]:
    """The rows of `ROWS`; "-" where a model has no such thing."""
    spec = entry.release.spec
    count, saved = parameters(spec), saving(spec, CACHE_AT).cache
    tied = {"en": " (tied)", "ko": "(공유)"}[lang] if spec.tied else ""
    rows = {
        "team": entry.family.company,
        "parameters": short(count.total, lang),
        "active": short(count.active, lang) if count.active < count.trunk else "",
        "layers": f"{len(spec.layers)} x {spec.width:,}",
        "attention": attention_in_words(spec, lang),
        "positions": positions_in_words(spec, lang),
        "ffn": ffns_in_words(spec, lang),
        "router": router_in_words(spec, lang),
        "norms": norms_in_words(spec, lang),
        "multipliers": multipliers_in_words(spec, lang),
        "mtp": str(len(spec.mtp) or ""),
        "vocabulary": f"{spec.vocab:,}{tied}",
        "context": f"{spec.context:,}",
        "cache": f"{cache_bytes_per_token(spec, CACHE_AT):,.0f}",
        "saved": f"{saved:.1%}" if saved else "",
        "licence": entry.release.licence,
        "reference": entry.family.reference,
    }
    return {key: rows[key] or "-" for key in ROWS}


def plain(entry: Entry) -> dict[str, Any]:
    """One release for JSON: numbers as numbers, words in English."""
    spec, release = entry.release.spec, entry.release
    count, words = parameters(spec), facts(entry)
    return {
        "name": spec.name, "family": entry.family.name, "title": entry.family.title, "company": entry.family.company,
        "parameters": count.total, "active": count.active, "mtp_parameters": count.mtp, "layers": len(spec.layers),
        "width": spec.width, "vocabulary": spec.vocab, "context": spec.context,
        **{key: words[key] for key in ("attention", "positions", "ffn", "router", "norms", "multipliers")},
        "licence": release.licence, "reference": entry.family.reference, "repository": release.repository,
        "source": release.source, "published_total": release.total, "unverified": list(spec.unverified),
    }
