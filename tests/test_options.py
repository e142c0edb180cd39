"""Options: each refuses what is out of its range, in one sentence that names it."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpen_core.errors import InputError
from gpen_core.options import (
    PARSING_CLASSES,
    PARSING_GROUPS,
    STEPS,
    DetectOptions,
    MaskOptions,
    Options,
    PasteOptions,
    RestoreOptions,
    SelectOptions,
    Spec,
    class_indices,
    default_of,
    spec_of,
    specs,
)

ROOT = Path(__file__).resolve().parents[1]
EVERY = [
    pytest.param(group, name, default, spec, id=name)
    for group in STEPS.values()
    for name, default, spec in specs(group)
]
NUMBERS = [each for each in EVERY if each.values[3].low is not None]
CHOICES = [each for each in EVERY if each.values[3].choices]


@pytest.mark.parametrize(("group", "name", "default", "spec"), EVERY)
def test_every_option_is_described_and_its_default_allowed(group, name, default, spec) -> None:
    assert spec.help.endswith(".") and spec.help[0].isupper() and "\n" not in spec.help
    assert getattr(group(), name) == default == default_of(group, name)
    assert spec_of(group, name) is spec and spec_of(group(), name) is spec
    assert (default is None) == bool(spec.unset)
    assert (spec.low is None) == (spec.high is None)


@pytest.mark.parametrize(("group", "name", "default", "spec"), NUMBERS)
def test_numbers_may_be_at_both_ends_and_not_beyond(group, name, default, spec) -> None:
    for value in (spec.low, spec.high):
        assert getattr(group(**{name: value}), name) == value
    for value in (spec.low - 1e-6, spec.high + 1e-6, math.nan, math.inf, True, "1"):
        with pytest.raises(InputError) as caught:
            group(**{name: value})
        said = re.fullmatch(f"{name} must be from (.+) to (.+), not (.+)\\.", str(caught.value))
        assert said and (float(said[1]), float(said[2])) == (spec.low, spec.high)
        assert said[3] == repr(value)
        assert caught.value.option == name


@pytest.mark.parametrize(("group", "name", "default", "spec"), NUMBERS)
def test_only_what_may_be_left_open_may_be_none(group, name, default, spec) -> None:
    if spec.unset:
        assert getattr(group(**{name: None}), name) is None
    else:
        with pytest.raises(InputError, match=f"{name} must be from .*, not None"):
            group(**{name: None})


@pytest.mark.parametrize(("group", "name", "default", "spec"), CHOICES)
def test_choices_are_all_there_is(group, name, default, spec) -> None:
    for value in spec.choices:
        assert getattr(group(**{name: value}), name) == value
    for value in ("other", 99, True, *(() if spec.unset else (None,))):
        with pytest.raises(InputError) as caught:
            group(**{name: value})
        allowed = ", ".join(map(str, spec.choices))
        assert str(caught.value) == f"{name} must be one of {allowed}, not {value!r}."
        assert caught.value.option == name


def test_a_value_without_range_or_choices_is_not_looked_at() -> None:
    Spec("Anything.").check("name", object())
    Spec("Half a range.", low=3).check("name", 1)


def test_the_smallest_face_is_not_above_the_largest() -> None:
    assert DetectOptions(min_size=40, max_size=40).max_size == 40
    assert DetectOptions(min_size=40).max_size is None
    with pytest.raises(InputError) as caught:
        DetectOptions(min_size=41, max_size=40)
    assert str(caught.value) == "min_size (41) is above max_size (40); swap them."
    assert caught.value.option == "min_size"


def test_options_by_their_plain_names() -> None:
    options = Options.of(
        confidence=0.5, sort="center", strength=0.3, mask="hull", upscale=2, template="ffhq"
    )
    assert options == Options(
        detect=DetectOptions(confidence=0.5),
        select=SelectOptions(sort="center"),
        restore=RestoreOptions(strength=0.3),
        mask=MaskOptions(mask="hull"),
        paste=PasteOptions(upscale=2),
        template="ffhq",
    )
    assert Options.of(keep_crops=True).keep_crops and not Options.of().keep_crops
    assert Options.of(confidence=None, template=None, keep_crops=None) == Options()
    assert SelectOptions(keep=[0, 2]).keep == (0, 2)


def test_an_unknown_option_and_an_unknown_template() -> None:
    with pytest.raises(InputError, match="There is no option 'colour'; ") as caught:
        Options.of(colour=1, zoom=2, strength=0.5)
    known = str(caught.value).partition("choose among ")[2].rstrip(".").split(", ")
    assert known == sorted(name for group in STEPS.values() for name, _, _ in specs(group))
    with pytest.raises(InputError, match="template must be one of gpen, ffhq, not 'arcface'"):
        Options.of(template="arcface")
    with pytest.raises(InputError, match="strength must be from 0 to 1, not 2"):
        Options.of(strength=2)


def test_values_as_callers_have_them() -> None:
    """NumPy's integers, lists from JSON, texts of a command line."""
    for keep, kept in ((np.int64(2), 2), ([0, 2], (0, 2)), ((1,), (1,)), ("0-3", "0-3"), (3, 3)):
        found = SelectOptions(keep=keep).keep
        assert found == kept and type(found) is type(kept)
    assert MaskOptions(exclude=" eyes, hat ,,").exclude == ("eyes", "hat")
    assert MaskOptions(exclude="").exclude == ()
    with pytest.raises(InputError, match="no face part 'beard'"):
        MaskOptions(exclude="hair,beard")


def test_a_range_in_words() -> None:
    assert spec_of(RestoreOptions, "seed").limits == "0 to 4294967295"
    assert spec_of(DetectOptions, "confidence").limits == "0.1 to 1"
    for spec in (
        Spec("x."),
        Spec("x.", low=1),
        Spec("x.", high=1),
        spec_of(PasteOptions, "upscale"),
    ):
        assert spec.limits == ""


def test_no_name_belongs_to_two_steps() -> None:
    names = [name for group in STEPS.values() for name, _, _ in specs(group)]
    assert len(set(names)) == len(names) > 12


def test_parts_of_a_face() -> None:
    assert class_indices(PARSING_CLASSES) == tuple(range(19))
    assert class_indices(()) == ()
    assert class_indices(("nose", "eyes", "left_eye")) == (2, 4, 5)
    for group, members in PARSING_GROUPS.items():
        assert class_indices((group,)) == class_indices(members) != ()
    with pytest.raises(InputError) as caught:
        MaskOptions(exclude=("hair", "beard"))
    known = ", ".join((*PARSING_CLASSES, *PARSING_GROUPS))
    assert str(caught.value) == f"There is no face part 'beard'; choose among {known}."
    assert caught.value.option == "exclude"


def test_options_need_no_torch() -> None:
    code = "import sys, gpen_core.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_options_are_values_however_their_names_were_given():
    """Options from JSON have lists, and what is kept by options needs them to be alike."""
    given = [{"exclude": names, "parts": ["eyes"]} for names in ("hair,hat", ["hair", "hat"])]
    one, other = (MaskOptions(**values) for values in given)
    assert one == other and hash(one) == hash(other)
