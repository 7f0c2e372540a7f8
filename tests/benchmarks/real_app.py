"""An application as they are: FastAPI, a pydantic model, a database by way of SQLAlchemy, and numpy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from typing import Annotated

import numpy
from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import Engine, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

ROWS = 50


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40))
    price: Mapped[float]


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
    Base.metadata.create_all(made)
    with Session(made) as session:
        session.add_all(Item(name=f"item {number}", price=number * 1.25) for number in range(ROWS))
        session.commit()
    return made


def session() -> Iterator[Session]:
    with Session(engine()) as opened:
        yield opened


app = FastAPI()


@app.get("/")
def report(session: Annotated[Session, Depends(session)], limit: int = 20) -> Report:
    items = session.scalars(select(Item).order_by(Item.price.desc()).limit(limit)).all()
    prices = numpy.array([item.price for item in items])
    return Report(
        pid=os.getpid(),
        mean=float(prices.mean()),
        deviation=float(prices.std()),
        lines=[Line(id=item.id, name=item.name, price=item.price) for item in items],
    )
