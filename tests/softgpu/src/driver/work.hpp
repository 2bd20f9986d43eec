// What a stream is given to do. A stream does it at once, so the order of works in different
// streams never shows; a stream that captures keeps it for a graph.
#pragma once

#include <variant>

#include "launches.hpp"

namespace softgpu {

struct Copy {
    u64 to, from, bytes;
    bool to_device, from_device;  // else to or from the host
};

struct Fill {
    u64 to, bytes;
    u8 value;
};

struct HostCall {
    void (*function)(void*);
    void* data;
};

using Work = std::variant<KernelLaunch, Copy, Fill, HostCall>;

// A copy with the number of a cudaMemcpyKind; 4 (default) decides by the addresses.
Copy make_copy(u64 to, u64 from, u64 bytes, int kind);

// Refuses work that leaves an allocation, or whose kernel faults.
void perform(const Work& work);

}  // namespace softgpu
