"""Three answers of Beam's that it works out anew thousands of times while a pipeline is built, kept instead.

Of a run with one tiny document, 1.0 s of 5.2 s of CPU went to the first two (benchmarks/startup.py). Importing this
module puts the functions in the place of Beam's, once a process.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core, userstate

View = TypeVar("View", bound=PipelineOptions)

_views: weakref.WeakKeyDictionary[PipelineOptions, dict[type, PipelineOptions]] = weakref.WeakKeyDictionary()
_specs: weakref.WeakKeyDictionary[type, dict[frozenset[str], tuple[set[Any], set[Any]]]] = weakref.WeakKeyDictionary()
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


def _kept_specs(
    specs_of: Callable[[core.DoFn], tuple[set[Any], set[Any]]],
) -> Callable[[core.DoFn], tuple[set[Any], set[Any]]]:
    """``get_dofn_specs``, once a class: state and timers are named by the arguments of its methods.

    Beam looks at an object's methods. Attributes of an object may stand before them, such as a function for `process`.
    """

    @functools.wraps(specs_of)
    def kept(function: core.DoFn) -> tuple[set[Any], set[Any]]:
        own, kind = vars(function), type(function)
        if any(isinstance(value, types.MethodType) for value in own.values()):
            return specs_of(function)
        hidden = frozenset(name for name in own if hasattr(kind, name))
        known = _specs.setdefault(kind, {})
        if hidden not in known:
            known[hidden] = specs_of(function)
        states, timers = known[hidden]
        return set(states), set(timers)

    return kept


PipelineOptions.view_as = _kept_view(PipelineOptions.view_as)
core.get_function_args_defaults = _kept_arguments(core.get_function_args_defaults)
userstate.get_dofn_specs = _kept_specs(userstate.get_dofn_specs)
