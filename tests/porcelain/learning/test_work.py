"""What an add computes, counted before it begins, against what it computes; and how much of it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cns.cost import ImageCost, counted, image_cost
from cns.families import FAMILIES
from cns.judges.files import judges_bytes
from cns_cli.porcelain.learning.judged import Viewing
from cns_cli.porcelain.learning.learn import settings_for
from cns_cli.porcelain.learning.memory import sparing
from cns_cli.porcelain.learning.needs import loading_bytes, needs_of
from cns_cli.porcelain.learning.work import work_of
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import AddOptions
from cns_cli.progress import NullProgress
from registry.errors import NothingToDo
from registry.objects import Record
from registry.repository import Repository
from tests.porcelain.conftest import add

SIDE = 8


def request(registry, photos, **changes):
    options = {"start": registry, "name": "rex", "images": photos["rex"], "class_noun": "dog", "steps": 2, **changes}
    return AddOptions(**options)


def params_of(registry):
    repo = Repository(registry)
    return repo.objects.get(repo.commit_of(repo.head().commit).record, Record).data["params"]


class Notes(NullProgress):
    """Keeps what it is told, and the stages."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


LARGER = {"score": "wanda", "resolution": 128, "steps": 8}  # than the base's own pictures


@pytest.mark.parametrize("changes", [LARGER, {"score": "gradient"}, {"preview": 30, "prior": 2}])
@pytest.mark.usefixtures("few_voters")
def test_an_add_computes_what_was_counted(empty, photos, changes):
    session = Session.open(Repository(empty), "cpu")
    options = request(empty, photos, **changes)
    settings = settings_for(session.base, options, "named", 3)
    side = (options.resolution or 64) // 8
    trained, own = (image_cost(session.base.model.pipeline, one) for one in (side, SIDE))
    work = work_of(session.base, options, settings, trained, own, 3, False)
    with counted() as real:
        add(empty, "rex", photos["rex"], **{"preview": None, **changes})
    # Text encoder and judges are large beside so small a denoiser, and no part of it.
    assert work.training + work.drawing == pytest.approx(real.get_total_flops(), rel=0.15)


def test_of_a_big_base_few_pictures_are_drawn_and_no_check_goes_on_from_them(empty, photos):
    base = Session.open(Repository(empty), "cpu").base
    assert Viewing.of(base, request(empty, photos)).pictures == 2 + 2 + 2
    assert FAMILIES["emoji-64"].defaults.preview == 20
    few, many = (Viewing.of(base, request(empty, photos, preview=count)) for count in (1, 30))
    assert (few.pictures, few.whole) == (1 + 1 + 1, False)
    assert (many.pictures, many.whole) == (36 + 36 + 8, True)  # whole rounds of twelve prompts
    assert Viewing.of(base, request(empty, photos, kind="style")).pictures == 2 + 2


@pytest.mark.parametrize(("preview", "tells"), [(1, False), (12, True)])
def test_few_pictures_do_not_tell_what_was_learned_and_are_no_baseline(empty, photos, preview, tells):
    result = add(empty, "rex", photos["rex"], preview=preview)
    assert result.few is not tells
    assert bool([*(empty / ".cns" / "refs" / "evaluations").rglob("*")]) is tells


def test_the_batch_size_is_taken_and_counts_repeats(empty, photos):
    add(empty, "rex", photos["rex"], batch_size=3, steps=None, repeats=2)
    assert {key: params_of(empty)[key] for key in ("batch_size", "steps")} == {"batch_size": 3, "steps": 2}


def test_the_memory_is_that_of_the_largest_phase(empty, photos):
    cost = ImageCost(1, 1, 1, 1, 1, kept_bytes=0, step_bytes=0, encode_bytes=0, decode_bytes=0)

    def needed(dtype="float32", preview=2, **made):
        base = Session.open(Repository(empty), "cpu", dtype=dtype).base
        options = request(empty, photos, preview=preview, gradient_checkpointing=False)
        settings = settings_for(base, options, "named", 3)
        return needs_of(base, options, settings, 3, 64, True, lambda *_: replace(cost, **made)).memory_bytes

    nothing, much = needed(), 10**9
    assert needed(step_bytes=much) - nothing == much
    assert needed(encode_bytes=much) - nothing == 3 * much  # small images, all at a time
    assert needed(decode_bytes=much) - nothing == 2 * much
    assert needed(decode_bytes=much, preview=5) - nothing == 5 * much
    assert needed(decode_bytes=much, step_bytes=9 * much) - nothing == 9 * much
    assert needed("bfloat16", step_bytes=much) - needed(step_bytes=much) < 0


def test_the_judges_are_counted(empty, photos):
    base = Session.open(Repository(empty), "cpu").base
    options = request(empty, photos, gradient_checkpointing=False)
    real = sum(one.nbytes for judge in base.encoders.values() for one in judge.model.parameters())
    assert judges_bytes(base.family, base.folder) == pytest.approx(real, rel=0.01)
    settings = settings_for(base, options, "named", 3)
    with_them, alone = (needs_of(base, options, settings, 3, 64, True, judges_bytes=size) for size in (10**9, 0))
    assert with_them.memory_bytes - alone.memory_bytes == 10**9


def test_a_denoiser_that_is_cast_is_read_whole_first(empty):
    exact, short = (Session.open(Repository(empty), "cpu", dtype=dtype).base for dtype in ("float32", "bfloat16"))
    size = 4 * exact.model.denoiser_size
    assert loading_bytes(exact) == 0
    assert 1.5 * size < loading_bytes(short) < 2 * size


def test_memory_decides_unless_it_is_said(empty, photos, monkeypatch):
    base = Session.open(Repository(empty), "cpu").base
    settings, unet = settings_for(base, request(empty, photos), "named", 3), base.model.pipeline.unet
    monkeypatch.setattr("cns.memory.COUNTED_SIDE", 1)
    for free, wanted, said in ((2**40, False, "are kept"), (2**10, True, "computed again")):
        monkeypatch.setattr("cns.memory.free_bytes", lambda _, free=free: free)
        notes = Notes()
        with sparing(base, settings, 64, None, notes):
            assert unet.is_gradient_checkpointing is wanted
        assert said in notes.notes[0]
        for forced in (False, True):
            notes = Notes()
            with sparing(base, settings, 64, forced, notes):
                assert unet.is_gradient_checkpointing is forced
            assert notes.notes == []


def test_computing_activations_again_changes_no_bit(empty, photos):
    add(empty, "rex", photos["rex"], gradient_checkpointing=False)
    with pytest.raises(NothingToDo):  # the same concept, bit for bit
        add(empty, "rex", photos["rex"], gradient_checkpointing=True, replace=True)
