// Names of types, and what every file of the software GPU uses.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace softgpu {

using s8 = int8_t;
using u8 = uint8_t;
using s16 = int16_t;
using u16 = uint16_t;
using s32 = int32_t;
using u32 = uint32_t;
using s64 = int64_t;
using u64 = uint64_t;
using f32 = float;
using f64 = double;

constexpr int lanes = 32;  // of a warp
constexpr u32 all_lanes = 0xffffffffu;

// PTX that the software GPU does not know. The message names the instruction.
struct Unknown : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A std::string by printf's rules.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

}  // namespace softgpu
