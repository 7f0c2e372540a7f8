"""Classes whose objects the library makes."""

from __future__ import annotations

from typing import Generic, TypeVar

import pytest

from aiocluster._no_constructor import NoConstructor

T = TypeVar("T")


class Thing(Generic[T], metaclass=NoConstructor, made_by="the factory"):
    def __init__(self, value: T, *, doubled: bool = False) -> None:
        self.value = value
        self.doubled = doubled


class Special(Thing[int]):
    pass


class Other(Thing[int], made_by="another factory"):
    pass


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Thing, r"^Thing\(…\) can't be called: the factory makes these objects$"),
        (Special, r"^Special\(…\) can't be called: the factory makes these objects$"),
        (Other, r"^Other\(…\) can't be called: another factory makes these objects$"),
    ],
)
def test_the_constructor_says_who_makes_them(cls: type[Thing[int]], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        cls(1)


def test_the_library_makes_them() -> None:
    thing = Thing[str]._create("a", doubled=True)
    assert (type(thing), thing.value, thing.doubled) == (Thing, "a", True)
    assert type(Special._create(1)) is Special


def test_wrong_arguments_are_refused_as_always() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'valve'"):
        Thing._create(valve=1)  # type: ignore[arg-type]
