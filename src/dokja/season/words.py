"""Every word of the report, in Korean and English."""

from __future__ import annotations

WORDS: dict[str, tuple[str, str]] = {
    "report": ("시즌 보고서", "Season report"),
    "finished": ("끝난 시즌", "finished"),
    "playing": ("아직 진행 중", "still being played"),
    "notice": (
        "여기에 나오는 것은 공개된 모델 구조입니다. 아주 작은 크기와 예산으로 줄여, 여기에서 무작위 가중치부터 "
        "새로 학습했습니다. 각 회사의 모델이 아니며, 이 결과는 회사의 모델이 좋거나 나쁘다는 뜻이 아닙니다.",
        "These are published model architectures at pocket size and budget, trained here from random weights. "
        "They are not the companies' models, and nothing here is a statement about the companies' models.",
    ),
    "wins": ("{team} 우승", "{team} wins"),
    "wins_more": (
        "{company}의 공개된 구조. 마지막 판정에서 {points}점, 바이트당 {bits}비트",
        "{company}'s published architecture; in the last judgement {points} points, {bits} bits per byte",
    ),
    "no_winner": (
        "아직 우승한 팀이 없습니다. 이 보고서는 지금까지의 결과입니다.",
        "No team has won yet. This report shows the season so far.",
    ),
    # what was played
    "plan": ("시즌의 조건", "What was played"),
    "seed": ("시드", "Seed"),
    "flops": ("끝까지 가는 팀의 학습 계산량", "Training FLOPs of a finalist"),
    "size": ("목표 크기", "Target size"),
    "size_value": ("매개변수 {n}개", "{n} parameters"),
    "sequences": ("한 걸음에 읽는 양", "Read in one step"),
    "sequences_value": ("{context}토큰", "{context} tokens"),
    "text": ("학습한 글", "Training text"),
    "text_built_in": ("Dokja가 지어 낸 한국어 글", "Korean text composed by Dokja"),
    "text_value": ("최대 {mb} MB", "up to {mb} MB"),
    "heldout": ("평가에만 쓴 글", "Held-out text"),
    "heldout_value": ("약 {kb} KB", "about {kb} KB"),
    "workers": ("함께 학습한 팀", "Teams at once"),
    "workers_value": ("{workers}팀, 팀마다 스레드 {threads}개", "{workers}, on {threads} thread(s) each"),
    "seconds": ("모든 팀의 학습 시간", "Training time, all teams"),
    "rules": ("규칙", "Rules"),
    "rule_stage": ("{title}: {before}팀 가운데 {keep}팀이 남습니다.", "{title}: {keep} of {before} teams stay."),
    "rule_score": (
        "점수 {points}점 만점: 글 {text}점 × (1 − 바이트당 비트 ÷ xz -9의 바이트당 비트)와, 문제 {exercises}점 "
        "× 기능마다 잰 (정답률 − 찍기) ÷ (1 − 찍기)의 평균. 어느 것도 0 아래로 내려가지 않습니다.",
        "Score, {points} points at most: text {text} × (1 − bits per byte ÷ those of xz -9), and exercises "
        "{exercises} × the mean over skills of (accuracy − chance) ÷ (1 − chance). Neither goes below 0.",
    ),
    "rule_rank": (
        "순위는 점수로 정하고, 같으면 바이트당 비트가 적은 팀이 앞섭니다. 모든 팀이 같은 글, 같은 문제, 같은 "
        "계산량으로 겨룹니다.",
        "Ranks follow the score; a tie goes to the fewer bits per byte. All teams have the same text, exercises "
        "and compute.",
    ),
    "rule_interval": (
        "작은 글씨는 95% 구간입니다. 구간이 겹치는 두 팀의 순서는 우연일 수 있습니다. 구간은 평가에 쓴 글과 "
        "문제가 달랐을 때만 헤아리고, 다른 시드로 다시 학습했을 때는 헤아리지 않습니다.",
        "Small print gives 95 % intervals. Where two overlap, the order of the teams may be chance. They cover a "
        "different draw of texts and exercises, not another training run with another seed.",
    ),
    # curves
    "curves": ("학습 곡선", "Learning curves"),
    "curves_more": (
        "낮을수록 좋습니다. 선의 끝은 그 팀이 학습을 마친 곳입니다. 단계가 끝날 때마다 학습률이 내려갔다가 다시 "
        "오르므로 손실도 출렁입니다.",
        "Lower is better. A line ends where the team stopped training. The learning rate falls towards the end of "
        "each stage and rises again after it, which shows in the loss.",
    ),
    "curves_warning": (
        "토큰당 손실은 토크나이저가 다른 팀끼리 견줄 수 없습니다. 토큰 하나에 담긴 글의 양이 팀마다 다르기 "
        "때문입니다. 팀끼리는 아래의 바이트당 비트로 견주세요.",
        "Loss per token does not compare across tokenizers: a token holds a different amount of text in each "
        "team. To compare teams, use the bits per byte below.",
    ),
    "no_curves": ("아직 학습 기록이 없습니다.", "No training figures yet."),
    "bits": ("단계마다 잰 바이트당 비트", "Bits per byte after each stage"),
    "bits_more": (
        "학습에 쓰지 않은 글로 재며, 토크나이저가 달라도 견줄 수 있습니다. 세로줄은 95% 구간, 점선은 모델이 아닌 "
        "견줄 값입니다.",
        "Measured on held-out text; comparable whatever the tokenizer. Bars are 95 % intervals, dotted lines the "
        "baselines.",
    ),
    # stage tables
    "results": ("단계별 결과", "Results by stage"),
    "state_waiting": ("기다림", "waiting"),
    "state_training": ("학습 중", "training"),
    "state_judged": ("판정 끝", "judged"),
    "no_table": ("아직 판정이 없습니다.", "Not judged yet."),
    "rank": ("순위", "Rank"),
    "team": ("팀", "Team"),
    "score": ("점수", "Score"),
    "bpb": ("바이트당 비트", "Bits per byte"),
    "above": ("찍기를 넘은 기능", "Skills above chance"),
    "above_value": ("{total} 가운데 {n}", "{n} of {total}"),
    "last": ("꼴찌일 확률", "P(last)"),
    "fate": ("결과", "Result"),
    "why": ("까닭", "Why"),
    "goes_on": ("통과", "goes on"),
    "goes_out": ("탈락", "out"),
    "champion": ("우승", "wins"),
    "baseline": ("견줄 값", "baseline"),
    "not_under_xz": ("xz -9보다 낮다고 할 수 없음", "not shown to be under xz -9"),
    "why_kept": (
        "{total}팀 가운데 {rank}위. {keep}위까지 남습니다",
        "ranked {rank} of {total}; the first {keep} stay",
    ),
    "why_out": ("남는 마지막 팀보다 {gap}점 뒤짐", "{gap} points behind the last that stays"),
    "why_last": ("다시 뽑은 판정의 {share}에서 꼴찌", "last in {share} of the resampled judgements"),
    "note_xz": ("압축 프로그램. 평가에 쓴 글만으로", "a compressor, on the held-out text alone"),
    "note_ngram": (
        "n-gram 모델. 학습한 글의 앞부분으로",
        "an n-gram model, fitted on the start of the training text",
    ),
    # skills
    "skills": ("기능별 정답률", "Accuracy by skill"),
    "skills_more": (
        "▲는 95% 구간 전체가 찍기보다 높은 것, 흐린 값은 찍기보다 낫다고 말할 수 없는 것입니다. 색이 짙을수록 "
        "찍기를 많이 넘었습니다. 찍기는 문제의 꼴만 보고 찍어서 맞히는 비율입니다.",
        "▲ means that the whole 95 % interval is above chance; faded values are not shown to be better than "
        "guessing. The darker, the further above chance. Chance is what a guesser gets right who knows only the "
        "form of the questions.",
    ),
    "skills_items": ("기능마다 문제 {n}개.", "{n} exercises for each skill."),
    "skill": ("기능", "Skill"),
    "chance": ("찍기", "Chance"),
    # costs
    "costs": ("구조마다 드는 비용", "What each architecture costs"),
    "costs_more": (
        "캐시는 32비트 실수, 문맥 {context}토큰 기준입니다. 계산량이 같아도 토큰당 계산량이 적은 구조는 더 많은 "
        "토큰을 읽습니다. 학습 시간은 이 시즌을 치른 컴퓨터의 것입니다.",
        "Cache in 32-bit floats at {context} tokens of context. With equal FLOPs, an architecture that needs "
        "fewer per token reads more tokens. Training time is that of the computer that played this season.",
    ),
    "parameters": ("매개변수", "Parameters"),
    "active": ("토큰마다 쓰는 매개변수", "Active per token"),
    "shape": ("층 × 폭", "Layers × width"),
    "vocab": ("어휘", "Vocabulary"),
    "kv": ("토큰당 KV 캐시(바이트)", "KV bytes per token"),
    "per_token": ("토큰당 학습 FLOPs", "Training FLOPs per token"),
    "tokens": ("읽은 토큰", "Tokens seen"),
    "total_flops": ("학습 FLOPs", "Training FLOPs"),
    "time": ("학습 시간(초)", "Training seconds"),
    "official": ("공개된 모델의 크기", "Official size"),
    # writing
    "writing": ("팀이 쓴 글", "What the teams write"),
    "writing_more": (
        "흐린 글씨는 주어진 첫머리, 이어지는 글은 모델이 쓴 것입니다. 골라내지 않았으며, 틀린 말이 많습니다.",
        "Faded words were given, what follows is the model's. Not selected; much of it is wrong.",
    ),
    "after_stage": ("{title} 뒤", "after {title}"),
    "silent": ("(아무것도 쓰지 않음)", "(wrote nothing)"),
    "no_samples": ("아직 쓴 글이 없습니다.", "Nothing written yet."),
    "replies": ("문제와 답", "Exercises and replies"),
    "replies_more": (
        "기능마다 첫 문제이며 골라내지 않았습니다. 팀마다 마지막으로 판정받은 모델의 답이고, ✓는 정답과 같은 "
        "답입니다.",
        "The first exercise of each skill, not selected. Each team answers with the model that was judged last; ✓ "
        "marks a reply equal to the right answer.",
    ),
    "more_exercises": ("문제 {n}개 더", "{n} more exercises"),
    "answer": ("정답", "Right answer"),
    "equal": ("정답과 같음", "equal to the right answer"),
    "made": (
        "Dokja가 만든 보고서. `dokja season report`로 다시 만들 수 있습니다.",
        "Written by Dokja; `dokja season report` writes it again.",
    ),
    "language": ("언어", "Language"),
}
