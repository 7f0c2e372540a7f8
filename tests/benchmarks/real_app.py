"""An application as they are: FastAPI, a pydantic model, a database by way of SQLAlchemy, and numpy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Annotated

import numpy
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import Column, Engine, Float, Integer, MetaData, String, Table, create_engine, select
from sqlalchemy.orm import Session, registry
from sqlalchemy.pool import StaticPool

ROWS = 50


METADATA = MetaData()
ITEMS = Table(
    "items",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(40), nullable=False),
    Column("price", Float, nullable=False),
)


class Item:
    """A row of the table."""

    id: int
    name: str
    price: float

    def __init__(self, name: str, price: float) -> None:
        self.name = name
        self.price = price


registry().map_imperatively(Item, ITEMS)


class Line(BaseModel):
    id: int
    name: str = Field(max_length=40)
    price: float


class Report(BaseModel):
    pid: int
    mean: float
    deviation: float
    lines: list[Line]


@cache
def engine() -> Engine:
    """The database: in each process its own, opened by its first request and not at the import."""
    made = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)
    METADATA.create_all(made)
    with Session(made) as session:
        session.add_all(Item(f"item {number}", number * 1.25) for number in range(ROWS))
        session.commit()
    return made


def session() -> Iterator[Session]:
    with Session(engine()) as opened:
        yield opened


app = FastAPI()


@app.get("/")
def report(session: Annotated[Session, Depends(session)], limit: int = 20) -> Report:
    items = session.scalars(select(Item).order_by(ITEMS.c.price.desc()).limit(limit)).all()
    prices = numpy.array([item.price for item in items])
    return Report(
        pid=os.getpid(),
        mean=float(prices.mean()),
        deviation=float(prices.std()),
        lines=[Line(id=item.id, name=item.name, price=item.price) for item in items],
    )
