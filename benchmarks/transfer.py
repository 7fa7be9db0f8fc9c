"""Whether the best learning rate stays where it is when the model grows: sizes of one architecture, rates around the
default, with and without rates that follow the width.

    python benchmarks/transfer.py --out benchmarks/results/transfer.json
    python benchmarks/transfer.py --draw docs/images/transfer        # its curves, from that file

A run is short (the same text, tokens, batch and seed for all); what counts is the held-out bits per byte of each.
The bar: with rates that follow the width, the best rate of every size is within one step of the grid (a factor of two)
of the smallest size's.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent / "serving"))
from bars import at_most

from dokja.build.korean import documents
from dokja.build.optim import OptimConfig
from dokja.build.packing import encode, pack
from dokja.build.schedule import Schedule
from dokja.build.tokenizer import train_tokenizer
from dokja.build.train import GuardConfig, NextToken, NextTokenConfig, TrainConfig, Trainer
from dokja.build.train.prepare import Heldout
from dokja.build.watch.curves import Line, chart
from dokja.models.families import family
from dokja.models.scaling import scaled

MEASURED = Path(__file__).parent / "results" / "transfer.json"
CONTEXT, VOCAB, BATCH = 256, 2048, 4
BASE = OptimConfig()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="k-exaone")
    parser.add_argument("--sizes", default="3e5,6e5,1.2e6,2.4e6")
    parser.add_argument("--factors", default="0.5,1,2,4,8,16")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draw", type=Path, help="only draw what was measured, as DRAW.en.svg and DRAW.ko.svg")
    args = parser.parse_args()
    if args.draw:
        return draw(json.loads(MEASURED.read_text(encoding="utf-8")), args.draw)
    torch.set_num_threads(args.threads)
    sizes, factors = [float(size) for size in args.sizes.split(",")], [float(part) for part in args.factors.split(",")]
    chosen = family(args.family)
    texts = list(islice(documents(1), 6000))
    codec = train_tokenizer(texts, VOCAB, chosen.chat, max_bytes=3_000_000)
    data = pack(encode(codec, texts[300:]), CONTEXT, codec.end_of_text, codec.vocab)
    heldout = Heldout(pack(encode(codec, texts[:300]), CONTEXT, codec.end_of_text, codec.vocab),
                      sum(len(text.content.encode()) for text in texts[:300]))
    specs = [scaled(chosen.spec, int(size), context=CONTEXT, vocab=codec.vocab) for size in sizes]
    rows: list[dict[str, Any]] = []
    for follow in (True, False):
        for spec in specs:
            for factor in factors:
                bits = []
                for seed in range(1, args.seeds + 1):
                    optim = replace(BASE, muon_lr=BASE.muon_lr * factor, adam_lr=BASE.adam_lr * factor,
                                    base_width=specs[0].width if follow else None)
                    trainer = Trainer(spec, NextToken(data, NextTokenConfig(batch=BATCH), seed),
                                      TrainConfig(seed=seed, optim=optim, guard=GuardConfig(sigmas=0, patience=20)),
                                      Schedule([args.steps]))
                    start = time.monotonic()
                    trainer.run(args.steps, lambda step: None)
                    bits.append(heldout.bits_per_byte(trainer.model, BATCH))
                rows.append({"follow": follow, "width": spec.width, "layers": len(spec.layers), "spec": spec.name,
                             "factor": factor, "bits": bits})
                print(f"{'follows' if follow else 'fixed':8} {spec.name:28} width {spec.width:4} factor {factor:6} "
                      f"bpb {sum(bits) / len(bits):.4f}  ({time.monotonic() - start:.0f} s)", flush=True)
    best = {follow: [_best([row for row in rows if row["follow"] is follow and row["spec"] == spec.name])
                     for spec in specs] for follow in (True, False)}
    for follow, found in best.items():
        print(f"best factor, {'following the width' if follow else 'fixed'}:", *(f"{factor:g}" for factor in found))
    furthest = max(max(factor, best[True][0]) / min(factor, best[True][0]) for factor in best[True])
    bar = at_most(f"best rates of {len(sizes)} sizes, the furthest over the smallest size's", furthest, 2)
    table = {"family": args.family, "steps": args.steps, "seeds": args.seeds, "rows": rows,
             "versions": {"torch": torch.__version__, "python": platform.python_version()},
             "best": {"follow": best[True], "fixed": best[False]}, "bars": [bar._asdict()]}
    if args.out:
        args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(bar)


def draw(table: dict[str, Any], path: Path) -> None:
    """Bits per byte over the rate, a line a size, with rates that follow the width."""
    widths = sorted({row["width"] for row in table["rows"]})
    for lang, title, word, x_title in (("en", "Held-out bits per byte by learning rate", "width", "× default"),
                                       ("ko", "학습률에 따른 보류 글의 바이트당 비트", "너비", "× 기본값")):
        lines = []
        for place, width in enumerate(widths):
            rows = [row for row in table["rows"] if row["follow"] and row["width"] == width]
            points = [(row["factor"], sum(row["bits"]) / len(row["bits"])) for row in rows]
            lines.append(Line(f"{word} {width}", points, place))
        image = chart(title, lines, width=720, height=280, alone=True, logarithmic=True, x_title=x_title)
        path.with_name(f"{path.name}.{lang}.svg").write_text(image, encoding="utf-8")


def _best(rows: list[dict[str, Any]]) -> float:
    return float(min(rows, key=lambda row: sum(row["bits"]) / len(row["bits"]))["factor"])


if __name__ == "__main__":
    main()
