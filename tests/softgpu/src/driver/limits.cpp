#include "limits.hpp"

#include <algorithm>

#include "errors.hpp"

namespace softgpu {

namespace {

constexpr u32 KB = 1 << 10, MB = 1 << 20;

// H100's tensor cores add 8 products at once and keep 2 bits below the largest; those before add 4
// and keep 1, as published measurements have it.
const Limits table[] = {
    {75, "T4", 40, 64 * KB, 64 * KB, 1024, 16, 4 * MB, 4, 1},
    {80, "A100", 108, 164 * KB, 163 * KB, 2048, 32, 40 * MB, 4, 1},
    {86, "A10", 84, 100 * KB, 99 * KB, 1536, 16, 6 * MB, 4, 1},
    {87, "Orin", 16, 164 * KB, 163 * KB, 1536, 16, 4 * MB, 4, 1},
    {89, "L40", 142, 100 * KB, 99 * KB, 1536, 24, 96 * MB, 4, 1},
    {90, "H100", 132, 228 * KB, 227 * KB, 2048, 32, 50 * MB, 8, 2},
    {100, "B200", 148, 228 * KB, 227 * KB, 2048, 32, 126 * MB, 8, 2},
    {103, "B300", 148, 228 * KB, 227 * KB, 2048, 32, 126 * MB, 8, 2},
    {120, "RTX 5090", 170, 100 * KB, 99 * KB, 1536, 24, 96 * MB, 8, 2},
    {121, "GB10", 48, 100 * KB, 99 * KB, 1536, 24, 24 * MB, 8, 2},
};

}  // namespace

const Limits& limits_of(int capability) {
    for (const Limits& l : table)
        if (l.capability == capability) return l;
    refuse(Error::invalid_value, "a compute capability of %d.%d is not known", capability / 10,
           capability % 10);
}

int resident_blocks(const Limits& limits, int threads, u64 shared) {
    const u64 taken = shared + (limits.capability >= 80 ? shared_reserved : 0);
    u64 blocks = static_cast<u64>(limits.blocks_per_multiprocessor);
    blocks = std::min<u64>(blocks, limits.threads_per_multiprocessor / std::max(threads, 1));
    if (taken) blocks = std::min<u64>(blocks, limits.shared_per_multiprocessor / taken);
    return static_cast<int>(blocks);
}

}  // namespace softgpu
