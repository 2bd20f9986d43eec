// What the runtime says of a device.
#include <cstdio>
#include <cstring>

#include "runtime.hpp"

namespace softgpu {

namespace {

constexpr int constant_bytes = 65536;
constexpr size_t most_pitch = 0x7fffffff;

// cudaDeviceProp of CUDA 12 and 13, as far as its end is of use to us. Arrays of `twelve` elements
// are those that only CUDA 12 has.
template <int cuda>
struct Properties {
    static constexpr int twelve = cuda == 12;
    char name[256];
    u8 uuid[16];
    char luid[8];
    u32 luid_mask;
    size_t memory, shared_per_block;
    int registers_per_block, warp_size;
    size_t pitch;
    int threads_per_block, block[3], grid[3], clock_rate[twelve];
    size_t constant;
    int major, minor;
    size_t texture_alignment, texture_pitch_alignment;
    int overlap[twelve], multiprocessors, timeout[twelve], integrated, maps_host, mode[twelve];
    int textures_and_surfaces[39 + twelve];
    size_t surface_alignment;
    int concurrent_kernels, ecc, bus, pci_device, pci_domain, tcc, engines, unified_addressing,
        memory_clock[twelve], bus_width, level_2_cache, persisting_cache,
        threads_per_multiprocessor, priorities, global_cache, local_cache;
    size_t shared_per_multiprocessor;
    int registers_per_multiprocessor, managed, multi_gpu_board, board_group, host_atomics,
        double_ratio[twelve], pageable_access, concurrent_managed, preemption, registered_host,
        cooperative_launch, cooperative_multi[twelve];
    size_t shared_opt_in;
    int host_page_tables, direct_managed, blocks_per_multiprocessor, access_window;
    size_t shared_reserved;
};

template <int cuda>
void write(void* to, const Device& device) {
    const Limits& limits = device.limits;
    Properties<cuda> p = {};
    snprintf(p.name, sizeof p.name, "softgpu %s", limits.card);
    snprintf(reinterpret_cast<char*>(p.uuid), sizeof p.uuid, "softgpu %d", device.number);
    p.memory = device.memory;
    p.shared_per_block = shared_unasked;
    p.registers_per_block = registers_per_multiprocessor;
    p.warp_size = lanes;
    p.pitch = most_pitch;
    p.threads_per_block = p.block[0] = p.block[1] = most_block_threads;
    p.block[2] = most_block_z;
    p.grid[0] = most_grid_x;
    p.grid[1] = p.grid[2] = most_grid_yz;
    p.constant = constant_bytes;
    p.major = limits.capability / 10;
    p.minor = limits.capability % 10;
    p.texture_alignment = 512;
    p.texture_pitch_alignment = 32;
    p.multiprocessors = limits.multiprocessors;
    p.maps_host = 1;
    p.surface_alignment = 512;
    p.concurrent_kernels = p.unified_addressing = 1;
    p.bus = device.number;
    p.level_2_cache = static_cast<int>(limits.level_2_cache);
    p.threads_per_multiprocessor = limits.threads_per_multiprocessor;
    p.priorities = 1;
    p.shared_per_multiprocessor = limits.shared_per_multiprocessor;
    p.registers_per_multiprocessor = softgpu::registers_per_multiprocessor;
    p.managed = 1;
    p.shared_opt_in = limits.shared_opt_in;
    p.blocks_per_multiprocessor = limits.blocks_per_multiprocessor;
    p.shared_reserved = limits.capability >= 80 ? shared_reserved : 0;
    memcpy(to, &p, sizeof p);
}

}  // namespace

void write_properties(void* to, const Device& device, int cuda) {
    cuda == 12 ? write<12>(to, device) : write<13>(to, device);
}

int device_attribute(const Device& device, int attribute) {
    const Limits& limits = device.limits;
    switch (attribute) {
        case 1:
        case 2:
        case 3:
            return most_block_threads;
        case 4:
            return most_block_z;
        case 5:
            return static_cast<int>(most_grid_x);
        case 6:
        case 7:
            return static_cast<int>(most_grid_yz);
        case 8:
            return static_cast<int>(shared_unasked);
        case 9:
            return constant_bytes;
        case 10:
            return lanes;
        case 11:
            return static_cast<int>(most_pitch);
        case 12:
        case 82:
            return registers_per_multiprocessor;
        case 14:
        case 30:
            return 512;  // alignment of textures and surfaces
        case 16:
            return limits.multiprocessors;
        case 19:
            return 1;  // pinned memory has an address on the device
        case 31:
        case 41:
            return 1;  // concurrent kernels, unified addresses
        case 33:
            return device.number;  // of the bus
        case 38:
            return static_cast<int>(limits.level_2_cache);
        case 39:
            return limits.threads_per_multiprocessor;
        case 75:
            return limits.capability / 10;
        case 76:
            return limits.capability % 10;
        case 78:
        case 83:
            return 1;  // priorities of streams, managed memory
        case 81:
            return static_cast<int>(limits.shared_per_multiprocessor);
        case 97:
            return static_cast<int>(limits.shared_opt_in);
        case 106:
            return limits.blocks_per_multiprocessor;
        case 111:
            return limits.capability >= 80 ? static_cast<int>(shared_reserved) : 0;
        case 115:
            return 1;  // memory pools
        default:
            return 0;
    }
}

}  // namespace softgpu
