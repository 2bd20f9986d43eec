// The runtime's functions of streams and events.
#include "runtime.hpp"
#include "streams.hpp"

namespace softgpu {

namespace {

int cudaStreamCreateWithPriority(void** to, u32 flags, int priority) {
    return guarded([&] {
        current_device();
        *to = streams().add(std::make_shared<Stream>(
            Stream{.device = current_device_number(), .flags = flags, .priority = priority}));
    });
}
int cudaStreamCreateWithFlags(void** to, u32 flags) {
    return cudaStreamCreateWithPriority(to, flags, 0);
}
int cudaStreamCreate(void** to) {
    return cudaStreamCreateWithPriority(to, 0, 0);
}

int cudaStreamGetFlags(void* handle, u32* flags) {
    return guarded([&] { *flags = find_stream(handle, "cudaStreamGetFlags")->flags; });
}
int cudaStreamGetPriority(void* handle, int* priority) {
    return guarded([&] { *priority = find_stream(handle, "cudaStreamGetPriority")->priority; });
}
int cudaStreamDestroy(void* handle) {
    return guarded([&] {
        const auto stream = streams().remove(handle, "cudaStreamDestroy");
        if (stream->capture) stream->capture->valid = false;
    });
}
int cudaStreamSynchronize(void* handle) {
    return guarded([&] {
        synchronize_stream(handle, "cudaStreamSynchronize");
        driver().counts.synchronizations++;
    });
}
int cudaStreamQuery(void* handle) {
    return guarded([&] { synchronize_stream(handle, "cudaStreamQuery"); });
}
int cudaStreamWaitEvent(void* stream, void* event, u32) {
    return guarded([&] { wait_for_event(stream, event); });
}
int cudaLaunchHostFunc(void* handle, void (*function)(void*), void* data) {
    return guarded(
        [&] { submit(*ready_stream(handle, "cudaLaunchHostFunc"), HostCall{function, data}); });
}
int cudaStreamAddCallback(void* handle, void (*function)(void*, int, void*), void* data, u32) {
    const int error = guarded([&] {
        const auto stream = ready_stream(handle, "cudaStreamAddCallback");
        if (stream->capture)
            stream->capture->spoil(Error::capture_unsupported, "cudaStreamAddCallback");
    });
    if (!error) function(handle, 0, data);
    return error;
}

int cudaStreamBeginCapture(void* handle, int mode) {
    return guarded([&] { begin_capture(handle, mode); });
}
int cudaStreamIsCapturing(void* handle, int* status) {  // 0: no, 1: yes, 2: it is invalid
    return guarded([&] {
        const auto stream = find_stream(handle, "cudaStreamIsCapturing");
        if (stream->legacy) ready_stream(handle, "cudaStreamIsCapturing");
        *status = !stream->capture ? 0 : stream->capture->valid ? 1 : 2;
    });
}

int cudaEventCreateWithFlags(void** to, u32 flags) {
    return guarded([&] {
        current_device();
        *to = events().add(
            std::make_shared<Event>(Event{.device = current_device_number(), .flags = flags}));
    });
}
int cudaEventCreate(void** to) {
    return cudaEventCreateWithFlags(to, 0);
}
int cudaEventDestroy(void* handle) {
    return guarded([&] { events().remove(handle, "cudaEventDestroy"); });
}
int cudaEventRecord(void* event, void* stream) {
    return guarded([&] { record_event(event, stream); });
}
int cudaEventQuery(void* handle) {
    return guarded([&] { completed_event(handle, "cudaEventQuery"); });
}
int cudaEventSynchronize(void* handle) {
    return guarded([&] {
        completed_event(handle, "cudaEventSynchronize");
        driver().counts.synchronizations++;
    });
}
int cudaEventElapsedTime(float* milliseconds, void* from, void* to) {
    return guarded([&] {
        const char* call = "cudaEventElapsedTime";
        const auto first = completed_event(from, call), last = completed_event(to, call);
        for (const auto& event : {first, last})
            if (event->when < 0 || event->flags & 2)
                refuse(Error::invalid_handle, "%s: an event %s", call,
                       event->when < 0 ? "that was never recorded" : "without time");
        *milliseconds = static_cast<float>(1e3 * (last->when - first->when));
    });
}

}  // namespace

Functions runtime_stream_functions() {
    return {
        SOFTGPU_ENTRY(cudaStreamCreate),
        SOFTGPU_ENTRY(cudaStreamCreateWithFlags),
        SOFTGPU_ENTRY(cudaStreamCreateWithPriority),
        SOFTGPU_ENTRY(cudaStreamGetFlags),
        SOFTGPU_ENTRY(cudaStreamGetPriority),
        SOFTGPU_ENTRY(cudaStreamDestroy),
        SOFTGPU_ENTRY(cudaStreamSynchronize),
        SOFTGPU_ENTRY(cudaStreamQuery),
        SOFTGPU_ENTRY(cudaStreamWaitEvent),
        SOFTGPU_ENTRY(cudaLaunchHostFunc),
        SOFTGPU_ENTRY(cudaStreamAddCallback),
        SOFTGPU_ENTRY(cudaStreamBeginCapture),
        SOFTGPU_ENTRY(cudaStreamIsCapturing),
        SOFTGPU_ENTRY(cudaEventCreate),
        SOFTGPU_ENTRY(cudaEventCreateWithFlags),
        SOFTGPU_ENTRY(cudaEventDestroy),
        SOFTGPU_ENTRY(cudaEventRecord),
        SOFTGPU_ENTRY(cudaEventQuery),
        SOFTGPU_ENTRY(cudaEventSynchronize),
        SOFTGPU_ENTRY(cudaEventElapsedTime),
    };
}

}  // namespace softgpu
