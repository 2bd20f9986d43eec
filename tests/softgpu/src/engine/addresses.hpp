// Addresses: where an access of a warp goes, and whether it may.
#pragma once

#include "machine.hpp"

namespace softgpu {

// Where shared memory lies among generic addresses. Those of global and of local memory are the
// host's.
constexpr u64 shared_window = 0x00F0000000000000ull;
constexpr u64 shared_window_bytes = 1u << 24;

// The host's memory of what each active lane accesses.
using Places = u8* [lanes];

// Find the places of an access and check them: bounds, alignment, what was written, races. `used`:
// which bytes of a read count. False after a fault.
bool locate(Machine& m, const Address& address, int bytes, How how, Places& places, u32 used = ~0u);

// The addresses of the active lanes; those of others are copies of one of them.
void compute_addresses(const Machine& m, const Address& address, u64 (&at)[lanes]);

// Whether bytes of shared or of global memory may be accessed by these lanes; false after a fault.
bool check_shared(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, int alignment, How how);
bool check_global(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, int alignment, How how);

}  // namespace softgpu
