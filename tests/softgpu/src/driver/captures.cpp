// What a stream may not do while it captures, or while another does: "Cross-stream Dependencies and
// Events" and "Prohibited and Unhandled Operations" of the CUDA C++ Programming Guide. A call that
// is refused makes the capture invalid.
#include "errors.hpp"
#include "streams.hpp"

namespace softgpu {

namespace {

// Those that have begun and not ended.
std::vector<std::shared_ptr<Capture>>& captures() {
    static auto& only = *new std::vector<std::shared_ptr<Capture>>;
    return only;
}

}  // namespace

void Capture::join(const std::shared_ptr<Stream>& stream) {
    stream->capture = origin->capture;
    streams[stream];
}

void Capture::spoil(Error error, const char* call) {
    valid = false;
    refuse(error, "%s while a stream is capturing", call);
}

std::shared_ptr<Stream> ready_stream(void* handle, const char* call) {
    check_fault(call);
    auto stream = find_stream(handle, call);
    if (stream->legacy)  // it would wait for all streams but those with the flag
        for (const auto& capture : captures())
            for (const auto& [member, seen] : capture->streams)
                if (!(member->flags & 1) && member->device == stream->device)
                    capture->spoil(Error::capture_implicit, call);
    if (stream->capture && !stream->capture->valid)
        refuse(Error::capture_invalidated, "%s: the capture is invalid by an earlier error", call);
    return stream;
}

void check_capture_unsafe(const char* call) {
    check_fault(call);
    for (const auto& capture : captures()) {
        const bool own = capture->thread == std::this_thread::get_id();
        if (capture->mode == CaptureMode::global ||
            (capture->mode == CaptureMode::thread_local_ && own))
            capture->spoil(Error::capture_unsupported, call);
    }
}

void synchronize_device() {
    const char* call = "cudaDeviceSynchronize";
    for (const auto& capture : captures())
        for (const auto& [member, seen] : capture->streams)
            if (member->device == current_device_number())
                capture->spoil(Error::capture_unsupported, call);
    check_capture_unsafe(call);
}

void begin_capture(void* handle, int mode) {
    const char* call = "cudaStreamBeginCapture";
    check_fault(call);
    const auto stream = find_stream(handle, call);
    if (stream->legacy) refuse(Error::capture_unsupported, "%s of the legacy stream", call);
    if (stream->capture) refuse(Error::invalid_value, "%s: the stream is capturing already", call);
    if (mode < 0 || mode > 2) refuse(Error::invalid_value, "%s: mode %d", call, mode);
    const auto capture = std::make_shared<Capture>(
        Capture{static_cast<CaptureMode>(mode), std::this_thread::get_id(), stream});
    stream->capture = capture;
    capture->join(stream);
    captures().push_back(capture);
}

std::vector<Work> end_capture(void* handle) {
    const char* call = "cudaStreamEndCapture";
    const auto stream = find_stream(handle, call);
    const auto capture = stream->capture;
    if (!capture) refuse(Error::invalid_value, "%s: the stream is not capturing", call);
    if (capture->origin != stream) capture->spoil(Error::capture_unmatched, call);
    if (capture->mode != CaptureMode::relaxed && capture->thread != std::this_thread::get_id())
        refuse(Error::capture_wrong_thread, "%s in another thread than the beginning", call);
    Clock& seen = capture->streams.at(stream);
    bool joined = true;
    for (auto& [member, clock] : capture->streams) {
        joined &= seen[member.get()] == clock[member.get()];
        member->capture = nullptr;
    }
    capture->active = false;
    std::erase(captures(), capture);
    // An event may hold the capture, and a capture its streams; here the circle ends.
    std::vector<Work> works = std::move(capture->works);
    capture->streams.clear();
    capture->origin = nullptr;
    if (!capture->valid)
        refuse(Error::capture_invalidated, "%s: the capture is invalid by an earlier error", call);
    if (!joined) refuse(Error::capture_unjoined, "%s: other streams were not joined", call);
    return works;
}

}  // namespace softgpu
