"""A plan of concepts: what it says of each, and that what it cannot mean is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from cns_cli.porcelain.learning.plan import FIELDS, read_plan
from cns_cli.porcelain.options import AddOptions
from registry.errors import BadConfig

REX = '[[concept]]\nname = "rex"\nimages = "rex"\n'
TOM = '[[concept]]\nname = "tom"\nimages = "deep/tom"\n'


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    for folder in (tmp_path / "rex", tmp_path / "deep" / "tom"):
        folder.mkdir(parents=True)
        (folder / "0.png").touch()
    return tmp_path / "concepts.toml"


def read(plan: Path, text: str, **typed: object) -> list[AddOptions]:
    plan.write_text(text, encoding="utf-8")
    options = AddOptions(name="", images=Path(), author="ann", typed=frozenset(typed), **typed)  # type: ignore[arg-type]
    return read_plan(plan, options)


def test_a_concept_s_own_options_win_over_those_of_all_and_what_is_typed_over_both(plan: Path) -> None:
    own = 'class = "dog"\nsteps = 9\nbudget = "5.8%"\n'
    text = f"steps = 7\nlr = 1\nseed = 4\n{REX}{own}{TOM}repeats = 3\nmasks = false\n"
    rex, tom = read(plan, text, seed=5)
    assert (rex.name, rex.images, rex.class_noun, rex.author) == ("rex", plan.parent / "rex", "dog", "ann")
    assert (rex.steps, rex.lr, rex.seed, rex.budget, rex.masks) == (9, 1.0, 5, 0.058, True)
    assert (tom.images, tom.steps, tom.repeats, tom.seed, tom.masks) == (plan.parent / "deep/tom", None, 3, 5, False)
    assert rex.typed == {"name", "images", "class_noun", "steps", "lr", "seed", "budget"}
    assert [(one.steps, one.repeats) for one in read(plan, text, steps=2)] == [(2, None), (2, None)]


def test_its_keys_are_the_options_of_a_concept() -> None:
    assert {"class", "batch-size", "keep-images", "gradient-checkpointing"} <= FIELDS.keys()
    assert not {"dry-run", "resume", "replace", "continue", "start", "author", "typed"} & FIELDS.keys()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 3 4", "line 1.*expected TOML"),
        ("", r"expected a table \[\[concept\]\]"),
        ("concept = 3", r"expected a table \[\[concept\]\]"),
        (f"{REX}stepz = 4", r"concept 1 \(rex\): unknown key 'stepz'; expected steps"),
        (f"{REX}batch_size = 4", "expected batch-size$"),
        (f"batchsize = 4\n{REX}", "at the top: unknown key 'batchsize'; expected batch-size"),
        (f'name = "rex"\n{REX}', r"at the top: name is of one concept; expected it under \[\[concept\]\]"),
        (f"{REX}replace = true", "replace is for the command line: --replace"),
        (f'{REX}{TOM}steps = "many"', r"concept 2 \(tom\): steps: 'many' is not a whole number"),
        (f"{REX}steps = true", "steps: True is not a whole number"),
        (f"{REX}steps = 0", "steps: 0 is not at least 1"),
        (f"{REX}vectors = 17", "vectors: 17 is not between 1 and 16"),
        (f"{REX}lr = 0", "lr: 0 is not above 0"),
        (f"{REX}anchor = nan", "anchor: nan is not a finite number"),
        (f'{REX}budget = "0%"', "budget: '0%' is not a share"),
        (f"{REX}masks = 1", "masks: 1 is not true or false"),
        (f"{REX}class = 1", "class: 1 is not text"),
        (f'{REX}preset = "slow"', "preset: 'slow' is none of fast, balanced, thorough"),
        (f'{REX}score = "wandb"', "no score 'wandb'"),
        (f"{REX}steps = 3\nrepeats = 2", "repeats is another way to say steps"),
        ("[[concept]]\nname = 'rex'", r"concept 1 \(rex\): there is no images"),
        ("[[concept]]\nimages = 'rex'", "concept 1: there is no name"),
        ("[[concept]]\nname = 'a b'\nimages = 'rex'", r"concept 1 \(a b\): concept name"),
        ("[[concept]]\nname = 'rex'\nimages = 'rax'", "images: .*rax is not there"),
        ("[[concept]]\nname = 'rex'\nimages = 'deep'", "images: no image in"),
        (REX + REX, r"concept 2 \(rex\): name: concept 1 is called rex, too"),
        (f'{REX}token = "<tom>"\n{TOM}', r"concept 2 \(tom\): token: concept 1 \(rex\) has <tom>, too"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(plan: Path, text: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said) as caught:
        read(plan, text)
    assert f"'{plan}'" in caught.value.message
    assert caught.value.hint == f"edit {plan}"
