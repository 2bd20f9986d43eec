"""Streams, events, captures and graphs of the GPU in software: what a driver does and refuses."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest

from _cuda_calls import refused

pytestmark = pytest.mark.usefixtures("softgpu")


def test_events_and_callbacks(cupy):
    stream = cupy.cuda.Stream(non_blocking=True)
    first, last, called = cupy.cuda.Event(), cupy.cuda.Event(), []
    with stream:
        first.record()
        cupy.zeros(1000).sum()
        stream.launch_host_func(called.append, "host function")
        last.record()
    last.synchronize()
    assert cupy.cuda.get_elapsed_time(first, last) >= 0 and called == ["host function"]


def test_graph(cupy, softgpu):
    stream = cupy.cuda.Stream(non_blocking=True)
    x = cupy.arange(8, dtype=np.float32)
    y, z = cupy.empty(8, np.float32), cupy.zeros(8, np.float32)
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        cupy.add(cupy.multiply(x, 2, out=y), 1, out=z)
        y.data.memset_async(0, 16)
        graph = stream.end_capture()
    assert not stream.is_capturing() and float(z.sum()) == 0
    for change in (1, 10):
        x *= change
        graph.upload(stream)
        with softgpu.launched() as launched:
            graph.launch(stream)
        assert len(launched) == 2
        doubled = np.arange(8) * change * 2
        np.testing.assert_array_equal(cupy.asnumpy(z), doubled + 1)
        np.testing.assert_array_equal(cupy.asnumpy(y), np.where(np.arange(8) < 4, 0, doubled))
    del x
    with refused("out of bounds"):
        graph.launch(stream)


@pytest.mark.parametrize("mode", [0, 1, 2], ids=["global", "thread-local", "relaxed"])
@pytest.mark.parametrize("what", ["stream", "device", "query", "malloc", "legacy", "pageable"])
def test_what_a_capture_refuses(cupy, what, mode):
    runtime, stream = cupy.cuda.runtime, cupy.cuda.Stream(non_blocking=what != "legacy")
    x, host = cupy.zeros(8), np.zeros(8)
    call = {
        "stream": stream.synchronize,
        "device": cupy.cuda.Device().synchronize,
        "query": lambda: stream.done,  # which tells by its value
        "malloc": lambda: runtime.malloc(1 << 20),
        "legacy": lambda: runtime.memsetAsync(x.data.ptr, 0, 64, 0),
        "pageable": lambda: runtime.memcpyAsync(x.data.ptr, host.ctypes.data, 64, 1, stream.ptr),
    }[what]
    stream.begin_capture(mode=mode)
    if what == "malloc" and mode == 2:
        runtime.free(call())
        stream.end_capture()
        return
    with contextlib.nullcontext() if what == "query" else refused():
        call()
    with refused("Invalidated"):
        stream.end_capture()


def test_other_threads_may_allocate_in_a_thread_local_capture(cupy):
    for mode, broken in ((0, True), (1, False)):
        stream = cupy.cuda.Stream(non_blocking=True)
        stream.begin_capture(mode=mode)

        def other() -> None:
            with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
                cupy.cuda.runtime.malloc(10)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with refused("Invalidated") if broken else contextlib.nullcontext():
            stream.end_capture()


def test_other_streams_join_a_capture(cupy):
    s, t = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    x, y = cupy.zeros(8), cupy.zeros(8)

    def fork(join: bool):
        s.begin_capture()
        t.wait_event(s.record())
        y.data.memset_async(1, 64, t)
        x.data.memset_async(1, 64, s)
        if join:
            s.wait_event(t.record())
        return s.end_capture()

    fork(True).launch(s)
    assert (x == y).all() and float(x.sum()) != 0
    with refused("Unjoined"):
        fork(False)
    assert not t.is_capturing()
    s.begin_capture()
    with refused("Isolation"):
        s.wait_event(t.record())
    with refused("Invalidated"):
        s.end_capture()
