"""The drawn pictures of the docs are what their programs draw."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tests.docs.drawings import IMAGES, PICTURES
from tests.docs.drawings.svg import WIDTH


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_is_drawn(name: str) -> None:
    drawn = PICTURES[name]().svg()
    assert (IMAGES / f"{name}.svg").read_text() == drawn, "run: nox -s pictures"


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_beyond_the_edge(name: str) -> None:
    root = ElementTree.fromstring(PICTURES[name]().svg())
    height = float(root.attrib["height"])
    for shape in root.iter():
        for key, size, end in (("x", "width", WIDTH), ("y", "height", height)):
            start = float(shape.get(key, 0))
            assert 0 <= start <= start + float(shape.get(size, 0)) <= end, ElementTree.tostring(shape)
        for x, y in re.findall(r"([-\d.]+),([-\d.]+)", shape.get("points", "")):
            assert 0 <= float(x) <= WIDTH, ElementTree.tostring(shape)
            assert 0 <= float(y) <= height, ElementTree.tostring(shape)
