"""Arrays of users that lie on a GPU: taken without a copy, and answered in arrays of their kind.

A CuPy array is taken as it is. Any other array on a GPU, such as a tensor of PyTorch's, is taken as
a CuPy array of the same memory, by DLPack (https://dmlc.github.io/dlpack) or by the CUDA Array
Interface, whichever it has. Labels and weights of samples are small, and go to the host.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config

from cukernels.gpu import chosen_device
from cukernels.runtime import Array, Work, current, resolve_device, to_host
from estimators.shared.memory import out_of_memory

_CUDA = (2, 13)  # DLPack's numbers of a GPU's memory, and of memory that both sides share


def received(X: Any) -> Any:
    """Return samples as fits and predictions take them.

    Parameters
    ----------
    X : {array-like, sparse matrix}
        As the user gave them.

    Returns
    -------
    X : {cupy.ndarray, array-like, sparse matrix}
        What lies on a GPU as a CuPy array of the same memory. With ``array_api_dispatch=True``
        other arrays of the host as NumPy arrays, which scikit-learn's validation would then leave
        as they are; everything else unchanged.

    Raises
    ------
    ImportError
        If X lies on a GPU and CuPy is missing.
    RuntimeError
        If X lies on a GPU that this process cannot use.
    TypeError
        If X is one of CuPy's sparse matrices, or of a type that NumPy does not have.
    """
    if type(X) is np.ndarray:
        return X
    X = _values(X)
    device = device_of(X)
    if device is not None:
        return _as_cupy(X, device)
    if type(X).__module__.startswith("cupyx."):
        raise TypeError(
            f"X is a {type(X).__name__} of CuPy's, and sparse samples are taken from the host: "
            "give X.get()"
        )
    return np.asarray(X) if _is_dispatched(X) else X


def check_on_host(X: Any, estimator: Any) -> None:
    """Raise TypeError if samples lie on a GPU and an estimator takes them from the host alone."""
    device = device_of(X)
    if device is not None:
        raise TypeError(
            f"X is on {device}, and {type(estimator).__name__} takes samples from the host, "
            "wherever it computes: give cupy.asnumpy(X)"
        )


def on_host(values: Any) -> Any:
    """Return labels or weights for the host: those on a GPU as a copy, all others as `received`."""
    values = received(values)
    return values if device_of(values) is None else to_host(values)


def device_of(X: Any) -> str | None:
    """Return "cuda:N" for an array on a GPU, and None for everything else."""
    if type(X) is np.ndarray:
        return None
    place = getattr(X, "__dlpack_device__", None)
    if place is not None:
        kind, number = place()
        return f"cuda:{int(number)}" if int(kind) in _CUDA else None
    interface = getattr(X, "__cuda_array_interface__", None)
    if not isinstance(interface, dict):
        return None
    address = interface["data"][0]
    if not address:  # there is no memory where there are no values
        return "cuda:0"
    resolve_device("cuda")  # in words if CuPy is missing
    return f"cuda:{sys.modules['cupy'].cuda.runtime.pointerGetAttributes(address).device}"


def device_holding(X: Any, device: str) -> str | None:
    """Return the device of samples on a GPU, which a `device` parameter allows, or None.

    Parameters
    ----------
    X : {array, sparse matrix}
        Samples, as `received` returns them.
    device : str
        The parameter. "auto" allows any device.

    Returns
    -------
    device : str or None
        "cuda:N", or None for samples on the host: these go where the parameter says.

    Raises
    ------
    ValueError
        If the parameter names another device.
    """
    found = device_of(X)
    if found is None or device == "auto":
        return found
    named = resolve_device(device)
    if named == found:
        return found
    if named == "cpu":
        raise ValueError(
            f"X is on {found}, and device='cpu' computes on the host: give cupy.asnumpy(X), or set "
            f"device={found!r} or device='auto'"
        )
    raise ValueError(
        f"X is on {found}, and device={device!r} is {named}: bring X to {named}, or set "
        f"device={found!r} or device='auto', which computes where X is"
    )


def device_for(X: Any, device: str, work: Callable[[], Work], *, verbose: object = False) -> str:
    """Return where to compute with X: where it lies on a GPU, or else as `device` says.

    `work` describes what is to be done, for a `device` of "auto"; see `chosen_device`.
    """
    return device_holding(X, device) or chosen_device(device, work, verbose=verbose)


def in_kind(method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Let a method of an estimator take samples of any kind, and answer in arrays of that kind.

    The method itself is given what `received` makes of X, on whose device it runs, and returns
    arrays of NumPy or of CuPy. A CuPy array is handed back by the `from_dlpack` of the library
    that X is of, and stays a CuPy array where that library has none. A NumPy array of numbers
    becomes an array of the host of that library, and one of strings stays what it is.
    """

    @functools.wraps(method)
    def answer(self: Any, X: Any) -> Any:
        try:
            return in_own_kind(self, X)
        except MemoryError as error:
            raise out_of_memory(error) from error

    def in_own_kind(self: Any, X: Any) -> Any:
        if type(X) is np.ndarray:
            return method(self, X)
        X = _values(X)
        own = received(X)
        device = device_of(own)
        if device is None:
            result = method(self, own)
            return _like(X, result) if own is not X else result
        with current(device):
            return _like(X, method(self, own))

    return answer


def chosen(classes: Any, winners: Array) -> Array:
    """Return the class of each winner, on the device of the winners if it is a number."""
    classes = np.asarray(classes)
    if isinstance(winners, np.ndarray):
        return classes[winners]
    if classes.dtype.kind not in "biuf":  # a GPU has no strings
        return classes[to_host(winners)]
    return sys.modules["cupy"].asarray(classes)[winners]


def _values(X: Any) -> Any:
    """Return an array without the gradients that PyTorch would track; it exports no other."""
    if "bfloat16" in str(getattr(X, "dtype", "")):
        raise TypeError(
            f"this {type(X).__name__} has the type bfloat16, which NumPy does not have: give it as "
            "float32, a tensor X as X.float()"
        )
    return X.detach() if getattr(X, "requires_grad", False) is True else X


def _as_cupy(X: Any, device: str) -> Array:
    """Return an array on a device as a CuPy array of the same memory."""
    resolve_device(device)  # in words if CuPy is missing, or the device
    cupy = sys.modules["cupy"]
    if isinstance(X, cupy.ndarray):
        return X
    with cupy.cuda.Device(int(device.partition(":")[2])):
        return cupy.from_dlpack(X) if hasattr(X, "__dlpack__") else cupy.asarray(X)


def _is_dispatched(X: Any) -> bool:
    """Whether scikit-learn's validation would leave an array of the host as it is."""
    is_array = hasattr(type(X), "__dlpack__") and not isinstance(X, np.ndarray | np.generic)
    return is_array and bool(get_config().get("array_api_dispatch", False))


def _like(X: Any, result: Array) -> Any:
    """Return a result as an array of the library that X is of, if that takes it."""
    if isinstance(result, np.ndarray):
        if device_of(X) is not None or result.dtype.kind not in "biuf":
            return result
    elif isinstance(X, type(result)):
        return result
    find = getattr(X, "__array_namespace__", None)
    library = find() if find else sys.modules.get(type(X).__module__.partition(".")[0])
    take = getattr(library, "from_dlpack", None)
    return result if take is None else take(result)
