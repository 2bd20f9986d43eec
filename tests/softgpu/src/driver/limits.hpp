// What a device of a compute capability has and allows: "Technical Specifications per Compute
// Capability" of the CUDA C++ Programming Guide, and the multiprocessors of a card of that kind.
#pragma once

#include "engine/types.hpp"

namespace softgpu {

struct Limits {
    int capability;    // as 90 for 9.0
    const char* card;  // whose size the device has
    int multiprocessors;
    u32 shared_per_multiprocessor;  // bytes
    u32 shared_opt_in;              // bytes of a block, static and dynamic, that asks for them
    int threads_per_multiprocessor;
    int blocks_per_multiprocessor;
    u32 level_2_cache;           // bytes
    int mma_products, mma_bits;  // how its tensor cores add; see Settings
};

constexpr u32 shared_unasked = 48 << 10;  // bytes that a block has without asking
constexpr u32 shared_reserved = 1 << 10;  // bytes of each block that the system takes from 8.0 on
constexpr int most_block_threads = 1024;
constexpr int most_block_z = 64;
constexpr u32 most_grid_x = 0x7fffffff;
constexpr u32 most_grid_yz = 65535;
constexpr int registers_per_multiprocessor = 65536;
constexpr int most_parameter_bytes = 4096;  // of a launch

// Refuses a capability that is not known.
const Limits& limits_of(int capability);

// The most blocks of a kernel that a multiprocessor can hold, as far as threads and shared memory
// decide it.
int resident_blocks(const Limits& limits, int threads, u64 shared);

}  // namespace softgpu
