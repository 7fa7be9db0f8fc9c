"""The words of the card and of the page, in both languages."""

from __future__ import annotations

from typing import Literal

Lang = Literal["en", "ko"]

CARD: dict[Lang, dict[str, str]] = {
    "en": {
        "provenance": (
            "The published architecture of {family} at another size, trained with Dokja from "
            "random weights. It is not the company's model and holds none of its weights."
        ),
        "provenance_started": (
            "Trained with Dokja, going on from `{start}`; the architecture is that of {family}. "
            "It is not the company's model. What the weights that it began with came from is in "
            "their card."
        ),
        "field": "",
        "value": "",
        "architecture": "architecture",
        "layers": "layers",
        "width": "width",
        "context": "context",
        "vocabulary": "vocabulary",
        "parameters": "parameters",
        "active": "active for a token",
        "task": "task",
        "steps": "steps",
        "skipped": "skipped as spikes",
        "tokens": "tokens",
        "compute": "compute",
        "of_threshold": (
            "of the 10^26 at which article 32 of the AI Basic Act may apply; FLOPs of this run "
            "alone"
        ),
        "nats": "nats per token",
        "heldout": "held-out text",
        "bpb": "bits per byte",
        "step": "step",
        "none": "not measured",
        "time": "time and hardware",
        "minutes": "minutes",
        "threads": "threads",
        "seed": "seed",
        "started": "started",
        "versions": "versions",
        "data": "Data",
        "corpus": "A corpus of `dokja build corpus`, whose manifest has the hash `{hash}`.",
        "sampled": (
            "Sampled from the files given; their licences are not recorded: a corpus made by "
            "`dokja build corpus` records them."
        ),
        "built_in": "Text written by Dokja's own grammar; nothing is copied from anyone's text.",
        "source": "source",
        "licence": "licence",
        "origin": "origin",
        "documents": "documents",
        "bytes": "bytes",
        "limits": "Limits",
        "limits_text": (
            "Not tested for safety, bias or factual truth. It may say anything that its training "
            "text would let one expect. Text that it generates must be marked as generated where "
            "the AI Basic Act, article 31, asks for it."
        ),
        "again": "How to make it again",
        "again_text": (
            "`dokja build train RUN --out again`, where RUN is the folder of this run; on the "
            "same machine with the same number of threads the weights are the same to the last "
            "bit. The recipe has the digest `{digest}`:"
        ),
        "last_loss": "training loss of the last step",
    },
    "ko": {
        "provenance": (
            "{family}의 공개된 구조를 다른 크기로, Dokja에서 무작위 가중치부터 학습한 모델이다. "
            "그 회사의 모델이 아니며 그 가중치가 조금도 들어 있지 않다."
        ),
        "provenance_started": (
            "`{start}`에서 이어 Dokja로 학습했다. 구조는 {family}의 것이다. 그 회사의 모델이 "
            "아니다. 시작한 가중치가 어디서 왔는지는 그 카드에 있다."
        ),
        "field": "",
        "value": "",
        "architecture": "구조",
        "layers": "층",
        "width": "너비",
        "context": "문맥",
        "vocabulary": "어휘",
        "parameters": "파라미터",
        "active": "개를 토큰 하나가 씀",
        "task": "과제",
        "steps": "스텝",
        "skipped": "튀어서 건너뜀",
        "tokens": "토큰",
        "compute": "계산량",
        "of_threshold": "(인공지능기본법 제32조가 적용될 수 있는 10^26에 대한 비율, 이 실행만)",
        "nats": "nat/토큰",
        "heldout": "떼어 둔 글",
        "bpb": "비트/바이트",
        "step": "스텝",
        "none": "재지 않음",
        "time": "시간과 하드웨어",
        "minutes": "분",
        "threads": "스레드",
        "seed": "시드",
        "started": "시작",
        "versions": "버전",
        "data": "데이터",
        "corpus": "`dokja build corpus`의 말뭉치, 목록의 해시는 `{hash}`.",
        "sampled": (
            "주어진 파일에서 표본을 뽑았다. 라이선스는 기록되지 않았다: `dokja build corpus`로 "
            "만든 말뭉치에는 기록된다."
        ),
        "built_in": "Dokja의 문법이 쓴 글이며 누구의 글도 베끼지 않았다.",
        "source": "출처",
        "licence": "라이선스",
        "origin": "얻은 곳",
        "documents": "문서",
        "bytes": "바이트",
        "limits": "한계",
        "limits_text": (
            "안전, 편향, 사실 여부를 시험하지 않았다. 학습한 글에서 나올 법한 말은 무엇이든 할 "
            "수 있다. 생성한 글은 인공지능기본법 제31조가 요구하는 곳에서 생성물임을 표시해야 "
            "한다."
        ),
        "again": "다시 만들기",
        "again_text": (
            "`dokja build train RUN --out again`, RUN은 이 실행의 폴더. 같은 기계에서 같은 "
            "스레드 수면 가중치가 마지막 비트까지 같다. 레시피의 요약값은 `{digest}`:"
        ),
        "last_loss": "마지막 스텝의 학습 손실",
    },
}

PAGE: dict[Lang, dict[str, str]] = {
    "en": {
        "title": "Runs",
        "other": "한국어",
        "loss": "training loss, nats per token",
        "step_title": "step",
        "heldout_title": "held-out bits per byte",
        "rate": "learning rate, of its peak",
        "gradient_norm": "gradient norm before clipping",
        "tokens_per_second": "tokens a second",
        "running": "running, step {step} of {steps}",
        "finished": "finished, {steps} steps",
        "stopped": "stopped at step {step} of {steps}, {ago} ago",
        "empty": "no step yet",
        "samples": "What it writes",
        "events": "What happened",
        "recipe_title": "Recipe",
        "nothing": "nothing yet",
        "missing": "no run: {why}",
        "compute_so_far": "{flops} FLOPs, {tokens} tokens, {parameters} parameters",
        "at_step": "step {step}",
    },
    "ko": {
        "title": "실행",
        "other": "English",
        "loss": "학습 손실, nat/토큰",
        "step_title": "스텝",
        "heldout_title": "떼어 둔 글, 비트/바이트",
        "rate": "학습률(최고점에 대한 비율)",
        "gradient_norm": "자르기 전 기울기 노름",
        "tokens_per_second": "초당 토큰",
        "running": "학습 중, {steps}스텝 가운데 {step}",
        "finished": "끝남, {steps}스텝",
        "stopped": "{steps}스텝 가운데 {step}에서 멈춤, {ago} 전",
        "empty": "아직 스텝이 없음",
        "samples": "쓰는 글",
        "events": "일어난 일",
        "recipe_title": "레시피",
        "nothing": "아직 없음",
        "missing": "실행이 없음: {why}",
        "compute_so_far": "{flops} FLOPs, {tokens} 토큰, 파라미터 {parameters}",
        "at_step": "{step}스텝",
    },
}
