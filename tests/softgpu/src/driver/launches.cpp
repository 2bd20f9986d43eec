#include "launches.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "errors.hpp"

namespace softgpu {

namespace {

void check_grid_and_block(const Function& f, const u32 (&grid)[3], const u32 (&block)[3]) {
    const bool fits = grid[0] && grid[1] && grid[2] && grid[0] <= most_grid_x &&
                      grid[1] <= most_grid_yz && grid[2] <= most_grid_yz;
    if (!fits)
        refuse(Error::invalid_value, "%s: a grid of (%u, %u, %u)", f.name.c_str(), grid[0], grid[1],
               grid[2]);
    const u64 threads = u64{block[0]} * block[1] * block[2];
    const int most = std::min(f.program.most_threads, most_block_threads);
    if (!threads || block[2] > most_block_z || block[0] > most_block_threads ||
        block[1] > most_block_threads)
        refuse(Error::invalid_value, "%s: a block of (%u, %u, %u)", f.name.c_str(), block[0],
               block[1], block[2]);
    if (threads > static_cast<u64>(most))
        refuse(Error::invalid_value, "%s: %lu threads, of %d", f.name.c_str(), threads, most);
}

// Memory that a parameter points into, or a field of one that is a struct, and the variables of the
// module: nothing else is the kernel's to touch.
std::vector<Region> regions_of(const KernelLaunch& launch) {
    const Function& f = *launch.function;
    std::vector<Region> regions;
    std::vector<const Allocation*> seen;
    int number = 0;
    for (const Parameter& p : f.program.parameters) {
        for (s32 at = (p.offset + 7) / 8 * 8; at + 8 <= p.offset + p.size; at += 8) {
            u64 address;
            memcpy(&address, &launch.parameters[static_cast<size_t>(at)], 8);
            const Allocation* a = driver().allocations.find(address);
            if (!a || !a->reachable_from(f.module.device)) continue;
            if (std::find(seen.begin(), seen.end(), a) != seen.end()) continue;
            seen.push_back(a);
            regions.push_back({a->begin, a->end(), "argument " + std::to_string(number)});
        }
        number++;
    }
    regions.insert(regions.end(), f.module.regions.begin(), f.module.regions.end());
    return regions;
}

void record(const KernelLaunch& launch) {
    Record r{launch.function->name, {}, {}};
    std::copy_n(launch.grid, 3, r.grid);
    std::copy_n(launch.block, 3, r.block);
    driver().records.push_back(std::move(r));
}

}  // namespace

KernelLaunch checked_launch(std::shared_ptr<Function> function, const u32 (&grid)[3],
                            const u32 (&block)[3], u32 dynamic_shared,
                            const void* const* arguments) {
    const Function& f = *function;
    check_grid_and_block(f, grid, block);
    if (dynamic_shared > f.dynamic_limit)
        refuse(Error::invalid_value,
               "%s: %u bytes of dynamic shared memory, where the limit is %u (%d static)",
               f.name.c_str(), dynamic_shared, f.dynamic_limit, f.program.static_shared);
    if (f.module.device.number != current_device_number())
        refuse(Error::invalid_handle, "%s: of cuda:%d, where cuda:%d is current", f.name.c_str(),
               f.module.device.number, current_device_number());
    if (f.program.parameter_bytes > most_parameter_bytes)
        refuse(Error::invalid_value, "%s: more than %d bytes of arguments", f.name.c_str(),
               most_parameter_bytes);
    // Bytes between parameters belong to nobody.
    std::vector<u8> parameters(static_cast<size_t>(f.program.parameter_bytes), 0xee);
    size_t i = 0;
    for (const Parameter& p : f.program.parameters)
        memcpy(parameters.data() + p.offset, arguments[i++], static_cast<size_t>(p.size));
    return {std::move(function),
            {grid[0], grid[1], grid[2]},
            {block[0], block[1], block[2]},
            dynamic_shared,
            std::move(parameters)};
}

void run_kernel(const KernelLaunch& launch) {
    Driver& d = driver();
    Function& f = *launch.function;
    if (d.recording) record(launch);
    f.usage.launches++;
    if (d.options.null) return;
    const std::vector<Region> regions = regions_of(launch);
    const u32(&grid)[3] = launch.grid;
    const u32(&block)[3] = launch.block;
    const double start = now();
    const std::string fault = run({f.program,
                                   {grid[0], grid[1], grid[2]},
                                   {block[0], block[1], block[2]},
                                   launch.dynamic_shared,
                                   launch.parameters.data(),
                                   regions,
                                   d.settings(f.module.device, f.of_cupy)});
    const double seconds = now() - start;
    f.usage.seconds += seconds;
    if (d.options.verbose > 1)
        fprintf(stderr, "[softgpu] cuda:%d %s, grid (%u, %u, %u), block (%u, %u, %u): %.4f s\n",
                f.module.device.number, f.name.c_str(), grid[0], grid[1], grid[2], block[0],
                block[1], block[2], seconds);
    if (fault.empty()) return;
    if (d.options.sticky) d.fault = fault;
    throw Refusal{Error::launch_failed, fault};
}

}  // namespace softgpu
