"""A few thousand random cases against what strangers write, and every case that ever broke something."""

import json
import logging
from pathlib import Path
from random import Random

import pytest
from fuzzing.targets import targets

SEED = 1
SHARE = 30
"""Cases for each percent of a target's weight: three thousand in all."""
TARGETS = targets()
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


@pytest.fixture(autouse=True)
def quiet():
    """The receiver logs every refusal, and the suite's guard reads every record: too long for thousands."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", sorted(TARGETS))
async def test_no_random_case_breaks_a_promise(name):
    target = TARGETS[name]
    for number in range(0, SHARE * target.weight, target.cases_each):
        case = target.make(Random(f"{name} {SEED} {number}"))  # noqa: S311 - repeatable, not secret
        try:
            await target.check(case)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
            pytest.fail(f"seed {SEED}, case {number}: {type(error).__name__}: {error}")


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
async def test_what_was_found_once_stays_mended(file):
    kept = json.loads(file.read_text(encoding="utf-8"))
    if kept["target"] not in TARGETS:
        pytest.skip(f"the {kept['target']} adapter is not installed")
    await TARGETS[kept["target"]].check(kept["case"])


def test_there_is_something_to_replay():
    assert CORPUS


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_case_follows_from_its_seed_and_survives_being_kept(name):
    made = [TARGETS[name].make(Random("a seed")) for _ in range(2)]  # noqa: S311 - repeatable, not secret
    kept = [json.dumps(case) for case in made]
    assert kept[0] == kept[1]
    assert json.dumps(json.loads(kept[0])) == kept[0]
