// The runtime's functions that copy and fill memory.
#include "runtime.hpp"
#include "streams.hpp"

namespace softgpu {

namespace {

u64 number(const void* pointer) {
    return reinterpret_cast<u64>(pointer);
}

// Memory of the host that was not allocated by the runtime would be read or written while the
// graph runs, when it may be gone.
void check_capturable(const Stream& stream, const Copy& copy, const char* call) {
    const Allocations& memory = driver().allocations;
    if (stream.capture && (!memory.find(copy.to) || !memory.find(copy.from)))
        stream.capture->spoil(Error::capture_unsupported, call);
}

void copy_now(const Copy& copy, const char* call) {
    check_capture_unsafe(call);
    submit(*ready_stream(nullptr, call), copy);
}

void copy_in_stream(const Copy& copy, void* handle, const char* call) {
    const auto stream = ready_stream(handle, call);
    check_capturable(*stream, copy, call);
    submit(*stream, copy);
}

Copy peer_copy(void* to, int to_device, const void* from, int from_device, size_t bytes) {
    const auto check = [](const void* pointer, int device) {
        const Allocation* a = driver().allocations.find(number(pointer));
        if (a && a->place == Place::device && a->device != &driver().device(device))
            refuse(Error::invalid_value, "cudaMemcpyPeer: %p is on cuda:%d, not on cuda:%d",
                   pointer, a->device->number, device);
    };
    check(to, to_device);
    check(from, from_device);
    return {number(to), number(from), bytes, true, true};
}

int cudaMemcpy(void* to, const void* from, size_t bytes, int kind) {
    return guarded(
        [&] { copy_now(make_copy(number(to), number(from), bytes, kind), "cudaMemcpy"); });
}
int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, void* stream) {
    return guarded([&] {
        copy_in_stream(make_copy(number(to), number(from), bytes, kind), stream, "cudaMemcpyAsync");
    });
}
int cudaMemcpyPeer(void* to, int to_device, const void* from, int from_device, size_t bytes) {
    return guarded(
        [&] { copy_now(peer_copy(to, to_device, from, from_device, bytes), "cudaMemcpyPeer"); });
}
int cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes,
                        void* stream) {
    return guarded([&] {
        copy_in_stream(peer_copy(to, to_device, from, from_device, bytes), stream,
                       "cudaMemcpyPeerAsync");
    });
}

// Rows of `width` bytes, each `pitch` bytes behind the one before.
int cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                      size_t height, int kind, void* stream) {
    return guarded([&] {
        for (size_t row = 0; row < height; row++)
            copy_in_stream(make_copy(number(to) + row * to_pitch, number(from) + row * from_pitch,
                                     width, kind),
                           stream, "cudaMemcpy2DAsync");
    });
}
int cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                 size_t height, int kind) {
    return guarded([&] {
        for (size_t row = 0; row < height; row++)
            copy_now(make_copy(number(to) + row * to_pitch, number(from) + row * from_pitch, width,
                               kind),
                     "cudaMemcpy2D");
    });
}

int cudaMemsetAsync(void* to, int value, size_t bytes, void* stream) {
    return guarded([&] {
        submit(*ready_stream(stream, "cudaMemsetAsync"),
               Fill{number(to), bytes, static_cast<u8>(value)});
    });
}
int cudaMemset(void* to, int value, size_t bytes) {
    return guarded([&] {
        check_capture_unsafe("cudaMemset");
        submit(*ready_stream(nullptr, "cudaMemset"),
               Fill{number(to), bytes, static_cast<u8>(value)});
    });
}

}  // namespace

Functions runtime_copy_functions() {
    return {
        SOFTGPU_ENTRY(cudaMemcpy),     SOFTGPU_ENTRY(cudaMemcpyAsync),
        SOFTGPU_ENTRY(cudaMemcpyPeer), SOFTGPU_ENTRY(cudaMemcpyPeerAsync),
        SOFTGPU_ENTRY(cudaMemcpy2D),   SOFTGPU_ENTRY(cudaMemcpy2DAsync),
        SOFTGPU_ENTRY(cudaMemset),     SOFTGPU_ENTRY(cudaMemsetAsync),
    };
}

}  // namespace softgpu
