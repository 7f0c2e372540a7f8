"""A metaclass for classes that users get instances of but can't instantiate."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class NoConstructor(type):
    """The metaclass: ``cls(…)`` raises TypeError. The library itself calls ``cls._create(…)``.

    ::

        class WorkerProcess(Emitter, metaclass=NoConstructor, made_by="Primary.fork()"): ...

    The error's text names ``made_by``. A subclass inherits it unless it gives its own.
    """

    _made_by: str

    def __new__(
        metacls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], *, made_by: str | None = None
    ) -> NoConstructor:
        if made_by is not None:
            namespace["_made_by"] = made_by
        return super().__new__(metacls, name, bases, namespace)

    if not TYPE_CHECKING:  # this would hide the constructor, from which a type checker takes `_create`'s arguments

        def __call__(cls, *args: Any, **kwargs: Any) -> NoReturn:
            raise TypeError(f"{cls.__name__}(…) can't be called: {cls._made_by} makes these objects")

        _create = type.__call__

    else:

        def _create(cls: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
            raise NotImplementedError
