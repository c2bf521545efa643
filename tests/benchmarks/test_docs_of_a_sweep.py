"""`make docs` on a small finished sweep, written into a copy of the documents."""

from __future__ import annotations

import json
import re
import shutil

from analysis.forecasting.evaluation import PRIMARY
from benchmarks import docs
from benchmarks.bench import PAGE
from tests.support import tiny, trained


def test_the_documents_of_a_sweep_show_its_numbers_and_the_repositorys_own_stay(tmp_path):
    # Accuracies on few items scatter about the threshold, so that some runs converge and some do not.
    spec = tiny(
        budget=40,
        seeds={"together": {"range": [0, 24]}},
        grid={"chunk": 4, "eval_items": 16, "probe_items": 8},
        converged={"metric": "label_accuracy", "at_least": 0.5, "evaluations": 1},
        windows=[0, 0.1, 0.25],
        readings=[],
        resources={"slots": 24},
    )
    store = trained(spec, tmp_path / "results")
    copy = tmp_path / "copy"
    originals = (docs.README, PAGE, docs.PICTURE, docs.FORECASTS)
    for path in originals:
        (copy / path.relative_to(docs.ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / path.relative_to(docs.ROOT))
    speed = copy / PAGE.relative_to(docs.ROOT)
    *_, row = re.findall(r"\| .*\n", speed.read_text().partition("<!-- benchmark: end -->")[0])
    speed.write_text(speed.read_text().replace(row, ""))
    before = [path.read_bytes() for path in originals]
    docs.main([str(store.folder), "--to", str(copy)])
    assert [path.read_bytes() for path in originals] == before

    found = json.loads((copy / docs.FORECASTS.relative_to(docs.ROOT)).read_bytes())
    assert 0 < found["num_converged"] < found["num_runs"] == 24
    assert [window["fraction"] for window in found["windows"]] == [0, 0.1, 0.25]
    auroc, *_ = found["windows"][2]["auroc_within"][PRIMARY]
    readme = (copy / "README.md").read_text()
    line = next(line for line in readme.splitlines() if line.startswith("- **Forecasts.** "))
    assert f"Of 24 runs of the quickstart, {found['num_converged']} converge" in line
    assert f"from the first 25% {auroc:.2f} (" in line
    # Nothing else of the README is another one, and the page on speed follows from what was measured before.
    changed = [
        pair for pair in zip(readme.splitlines(), before[0].decode().splitlines(), strict=True) if len({*pair}) > 1
    ]
    assert [re.match(r"- \*\*\w+", pair[0])[0] for pair in changed] == ["- **Forecasts"]
    assert speed.read_bytes() == before[1]
    assert (copy / docs.PICTURE.relative_to(docs.ROOT)).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (copy / docs.PICTURE.relative_to(docs.ROOT)).read_bytes() != before[2]
