// Streams and events, and what streams capture.
#pragma once

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "handles.hpp"
#include "work.hpp"

namespace softgpu {

struct Capture;

struct Stream {
    int device = 0;
    u32 flags = 0;  // 1: does not wait for the legacy stream, nor the reverse
    int priority = 0;
    bool legacy = false;
    std::shared_ptr<Capture> capture = nullptr;
};

// How many works of each stream of a capture have been waited for.
using Clock = std::map<const Stream*, int>;

struct Event {
    int device = 0;
    u32 flags = 0;  // 2: without time
    double when = -1;
    std::shared_ptr<Capture> capture = nullptr;  // that it was recorded in
    Clock seen = {};                             // by the stream when it was
};

enum class CaptureMode : int { global = 0, thread_local_ = 1, relaxed = 2 };

struct Capture {
    CaptureMode mode;
    std::thread::id thread;
    std::shared_ptr<Stream> origin;
    bool active = true, valid = true;
    std::map<std::shared_ptr<Stream>, Clock> streams = {};
    std::vector<Work> works = {};  // in an order that respects what waits for what

    void join(const std::shared_ptr<Stream>& stream);
    // Makes the capture invalid.
    [[noreturn]] void spoil(Error error, const char* call);
};

Handles<Stream>& streams();
Handles<Event>& events();

// The stream of a handle, which may be that of the legacy stream (0, 1) or the thread's own (2).
std::shared_ptr<Stream> find_stream(void* handle, const char* call);

// The same for a stream that is to get work, or to be asked for its state in a capture.
std::shared_ptr<Stream> ready_stream(void* handle, const char* call);

// Do the work, or keep it if the stream captures.
void submit(Stream& stream, Work work);

// Refuses if a fault came before, and faults are sticky.
void check_fault(const char* call);

// Of calls that may not be made while somebody captures: allocations, copies that wait, ...
void check_capture_unsafe(const char* call);

// Of a call that waits for the whole device.
void synchronize_device();
void synchronize_stream(void* handle, const char* call);

void begin_capture(void* handle, int mode);
// What was captured.
std::vector<Work> end_capture(void* handle);

void record_event(void* event, void* stream);
void wait_for_event(void* stream, void* event);
// Refuses an event of a capture that goes on: nobody can wait for it on the host.
std::shared_ptr<Event> completed_event(void* handle, const char* call);

}  // namespace softgpu
