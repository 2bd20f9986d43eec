// Floating point as instructions take and give it.
#pragma once

#include "plain.hpp"

namespace softgpu {

// .ftz: subnormals are zeros of their sign.
inline f32 flush(f32 x) {
    const u32 b = bits<u32>(x);
    return (b & 0x7f800000u) == 0 ? bits<f32>(b & 0x80000000u) : x;
}

// All NaNs that come out are this one.
inline f32 canonical(f32 x) {
    return x != x ? bits<f32>(0x7fffffffu) : x;
}
inline f64 canonical(f64 x) {
    return x;
}

// A result of an instruction with .ftz.
inline f32 flushed_result(f32 x) {
    return canonical(flush(x));
}

// In an instruction that may have .ftz: its operands and its result.
template <typename T, bool ftz>
struct Flushing {
    static T in(T x) {
        if constexpr (ftz)
            return flush(x);
        else
            return x;
    }
    static T result(T x) { return canonical(in(x)); }
};

}  // namespace softgpu
