"""The device that `gpu.py` measures, or one in software, and its clock."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _rounds
import torch


@dataclass
class Device:
    """CuPy and PyTorch on one stream of one device, or CuPy in software and PyTorch on the host."""

    cupy: Any
    torch_device: str
    dry: bool
    stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def real(cls) -> Device:
        import cupy

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = True
        stream = torch.cuda.Stream()
        device = cls(cupy, "cuda", dry=False)
        device.stack.enter_context(torch.cuda.stream(stream))
        device.stack.enter_context(cupy.cuda.ExternalStream(stream.cuda_stream))
        return device

    @classmethod
    def in_software(cls) -> Device:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        import softgpu

        if not softgpu.real_gpu():
            softgpu.install()
        import cupy

        return cls(cupy, "cpu", dry=True)

    def synchronize(self) -> None:
        if not self.dry:
            torch.cuda.synchronize()

    def to_cupy(self, x: torch.Tensor) -> Any:
        """Share a tensor with CuPy."""
        return self.cupy.asarray(x.numpy()) if self.dry else self.cupy.from_dlpack(x.contiguous())

    def to_torch(self, x: Any) -> torch.Tensor:
        return torch.from_numpy(self.cupy.asnumpy(x)) if self.dry else torch.from_dlpack(x)

    def microseconds(self, call: Callable[[int], Any], calls: int) -> float:
        """Time of a call, from the first one's start on the device to the last one's end."""
        if self.dry:
            start = time.perf_counter()
            for i in range(calls):
                call(i)
            return (time.perf_counter() - start) / calls * 1e6
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for i in range(calls):
            call(i)
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / calls * 1e3

    def alone(self, call: Callable[[int], Any], calls: int) -> float | None:
        """Time of a call without what Python does: the calls as one CUDA graph."""
        if self.dry:
            return None
        try:
            graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
            external = self.cupy.cuda.ExternalStream(stream.cuda_stream)
            # CuPy's pool, which has blocks for each stream, must not grow in a capture: let it
            # have beforehand all that the calls want at once
            with torch.cuda.stream(stream), external:
                kept = [call(i) for i in range(calls)]
            stream.synchronize()
            del kept
            with torch.cuda.graph(graph, stream=stream), external:
                kept = []  # what is freed in a capture may be handed out to the next call
                for i in range(calls):
                    kept.append(call(i))
            return min(self.microseconds(lambda _: graph.replay(), 1) for _ in range(5)) / calls
        except Exception as error:  # the figure is left out, the run goes on
            print(f"  no graph: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
            torch.cuda.synchronize()
            return None


def facts(device: Device) -> dict[str, Any]:
    if device.dry:
        return {"device": "none: dry run"}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "multiprocessors": properties.multi_processor_count,
        "driver": device.cupy.cuda.runtime.driverGetVersion(),
        "cuda": torch.version.cuda,
        "cupy": device.cupy.__version__,
        "cudnn": torch.backends.cudnn.version(),
        **_rounds.machine(),
    }
