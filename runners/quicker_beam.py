"""Two answers of Beam's that it works out anew thousands of times while a pipeline is built, kept instead.

Of a run with one tiny document, 1.0 s of 5.2 s of CPU went there (benchmarks/startup.py). Importing this module puts
the two functions in the place of Beam's, once a process.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core

View = TypeVar("View", bound=PipelineOptions)

_views: weakref.WeakKeyDictionary[PipelineOptions, dict[type, PipelineOptions]] = weakref.WeakKeyDictionary()
_arguments: weakref.WeakKeyDictionary[Any, tuple[list[str], list[Any]]] = weakref.WeakKeyDictionary()


def _kept_view(view_as: Callable[[PipelineOptions, type[View]], View]) -> Callable[[PipelineOptions, type[View]], View]:
    """``PipelineOptions.view_as``, once an object and class: all views share one dictionary of values anyway."""

    @functools.wraps(view_as)
    def kept(options: PipelineOptions, of_class: type[View]) -> View:
        views = _views.setdefault(options, {})
        view = views.get(of_class)
        if view is None or view._all_options is not options._all_options:
            view = views[of_class] = view_as(options, of_class)
        return view

    return kept


def _kept_arguments(
    defaults_of: Callable[[Any], tuple[list[str], list[Any]]],
) -> Callable[[Any], tuple[list[str], list[Any]]]:
    """``get_function_args_defaults``, once a function: a method has the same arguments on every object of a class."""

    @functools.wraps(defaults_of)
    def kept(function: Any) -> tuple[list[str], list[Any]]:
        if not isinstance(function, types.FunctionType | types.MethodType):
            return defaults_of(function)
        key = function.__func__ if isinstance(function, types.MethodType) else function
        try:
            names, defaults = _arguments[key]
        except (KeyError, TypeError):  # a method's function may be any callable, also one that can't be a key
            names, defaults = defaults_of(function)
            if isinstance(key, types.FunctionType):
                _arguments[key] = names, defaults
        return list(names), list(defaults)

    return kept


PipelineOptions.view_as = _kept_view(PipelineOptions.view_as)
core.get_function_args_defaults = _kept_arguments(core.get_function_args_defaults)
