#include "streams.hpp"

#include <algorithm>

#include "errors.hpp"

namespace softgpu {

Handles<Stream>& streams() {
    static auto& only = *new Handles<Stream>;
    return only;
}

Handles<Event>& events() {
    static auto& only = *new Handles<Event>;
    return only;
}

void check_fault(const char* call) {
    if (!driver().fault.empty())
        refuse(Error::launch_failed, "%s after a fault: %s", call, driver().fault.c_str());
}

std::shared_ptr<Stream> find_stream(void* handle, const char* call) {
    static const auto legacy = std::make_shared<Stream>(Stream{.legacy = true});
    thread_local const auto own = std::make_shared<Stream>(Stream{.flags = 1});
    const u64 number = reinterpret_cast<u64>(handle);
    if (number > 2) return streams().find(handle, call);
    const auto& stream = number == 2 ? own : legacy;
    stream->device = current_device_number();
    return stream;
}

void submit(Stream& stream, Work work) {
    if (!stream.capture) return perform(work);
    Capture& capture = *stream.capture;
    capture.works.push_back(std::move(work));
    for (auto& [member, seen] : capture.streams)
        if (member.get() == &stream) seen[&stream]++;
}

void synchronize_stream(void* handle, const char* call) {
    const auto stream = find_stream(handle, call);
    if (stream->capture) stream->capture->spoil(Error::capture_unsupported, call);
    ready_stream(handle, call);
}

std::shared_ptr<Event> completed_event(void* handle, const char* call) {
    check_fault(call);
    auto event = events().find(handle, call);
    if (event->capture && event->capture->active)
        event->capture->spoil(Error::captured_event, call);
    return event;
}

void record_event(void* event_handle, void* stream_handle) {
    const auto event = events().find(event_handle, "cudaEventRecord");
    const auto stream = ready_stream(stream_handle, "cudaEventRecord");
    if (event->device != stream->device)
        refuse(Error::invalid_handle, "cudaEventRecord: an event of cuda:%d in a stream of cuda:%d",
               event->device, stream->device);
    event->when = now();
    event->capture = stream->capture;
    event->seen.clear();
    if (event->capture) event->seen = event->capture->streams.at(stream);
}

void wait_for_event(void* stream_handle, void* event_handle) {
    const char* call = "cudaStreamWaitEvent";
    const auto event = events().find(event_handle, call);
    const auto stream = ready_stream(stream_handle, call);
    const bool captured = event->capture && event->capture->active;
    if (!captured && !stream->capture) return;  // what came before it is done
    if (!captured || (stream->capture && stream->capture != event->capture))
        stream->capture->spoil(Error::capture_isolation, call);
    if (stream->legacy) event->capture->spoil(Error::capture_implicit, call);
    event->capture->join(stream);
    Clock& seen = event->capture->streams.at(stream);
    for (const auto& [other, works] : event->seen) seen[other] = std::max(seen[other], works);
}

}  // namespace softgpu
