// A launch of a kernel: what the driver checks of it, and what it may touch.
#pragma once

#include <memory>
#include <vector>

#include "modules.hpp"

namespace softgpu {

struct KernelLaunch {
    std::shared_ptr<Function> function;
    u32 grid[3], block[3];
    u32 dynamic_shared;
    std::vector<u8> parameters;
};

// `arguments` points to the value of each parameter. Refuses what a driver refuses.
KernelLaunch checked_launch(std::shared_ptr<Function> function, const u32 (&grid)[3],
                            const u32 (&block)[3], u32 dynamic_shared,
                            const void* const* arguments);

// Run it to its end. Refuses with the engine's words if the kernel does what it must not.
void run_kernel(const KernelLaunch& launch);

}  // namespace softgpu
