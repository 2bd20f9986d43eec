// The engine: runs a launch and checks it.
#pragma once

#include <string>
#include <vector>

#include "program.hpp"

namespace softgpu {

// Memory that a launch may touch: `name` says what it is in a message.
struct Region {
    u64 begin = 0, end = 0;
    std::string name;
};

// How a device behaves where the PTX ISA leaves it open, and what is looked for.
struct Settings {
    u32 seed = 0;          // of the order of warps and blocks; 0: ascending
    bool rough = false;    // approximate instructions are as wrong as the ISA allows
    int mma_products = 8;  // that a tensor core adds at once; 0: an exact sum, rounded once
    int mma_bits = 2;      // that it keeps below those of the largest
    bool races = true;     // two threads at one place without a barrier between are a fault
    bool strict = true;    // a read of shared memory that nobody wrote is a fault
    s64 most_steps = 2'000'000'000;  // instructions of a warp
};

struct Launch {
    const Program& program;
    u32 grid[3];
    u32 block[3];
    u32 dynamic_shared;
    const u8* parameters;  // program.parameter_bytes
    const std::vector<Region>& regions;
    Settings settings;
};

// Run a launch to its end. Returns "", or what the kernel did that no kernel may do: in words, with
// the kernel's name, the lines of its source, the block and the thread.
std::string run(const Launch& launch);

}  // namespace softgpu
