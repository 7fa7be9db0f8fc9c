"""Loading takes the model's own memory and little more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dokja
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.scaling import scaled

MEASURE = """
import json, sys, dokja
model = dokja.load(sys.argv[1])
state = model.decoder.state_dict()
own = sum(tensor.nbytes for name, tensor in state.items() if not (model.spec.tied and name == "head.weight"))
lines = open("/proc/self/status").read().splitlines()
table = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmHWM", "RssAnon"))}
print(json.dumps({"own": own, "peak": table["VmHWM"], "anonymous": table["RssAnon"]}))
"""


def measure(folder: Path) -> dict[str, int]:
    """Bytes, of a fresh interpreter that loads a folder: Python and PyTorch count too."""
    done = subprocess.run([sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=True,
                          timeout=300)
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's count of resident memory")
@pytest.mark.parametrize("name", ["k-exaone", "solar-open"])
def test_a_gigabyte_in_shards(tmp_path: Path, name: str) -> None:
    """At most 1.15 times the model and one shard, experts being stacked on the way."""
    spec = scaled(family(name).spec, 500_000_000, context=512, vocab=20_000)
    torch.manual_seed(0)
    model = Decoder(spec).to(torch.bfloat16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    dokja.save(dokja.Model(model, family=family(name)), tmp_path / "m", shard_bytes=200_000_000)
    del model
    shards = [path.stat().st_size for path in (tmp_path / "m").glob("*.safetensors")]
    assert len(shards) >= 4
    found = measure(tmp_path / "m")
    print(f"{name}: model {found['own'] / 1e6:.0f} MB, peak {found['peak'] / 1e6:.0f} MB, of it not mapped from files "
          f"{found['anonymous'] / 1e6:.0f} MB, {len(shards)} shards of at most {max(shards) / 1e6:.0f} MB")
    assert found["own"] > 8e8
    assert found["peak"] <= 1.15 * found["own"] + max(shards)
