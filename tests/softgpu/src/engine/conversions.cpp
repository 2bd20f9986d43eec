// Conversions. A type of 8 bits lies in a register of 16, and the parser takes the low part of one
// that is wider than the type.
#include <cmath>
#include <limits>

#include "numbers.hpp"

namespace softgpu {

namespace {

f32 from_half(u16 h) {
    return f32(bits<_Float16>(h));
}
template <typename T>
u16 to_half(T x) {
    return x != x ? 0x7fff : bits<u16>(_Float16(x));
}

// To the nearest, and to the even one of two.
u16 to_bfloat16(f32 x) {
    const u32 b = bits<u32>(x);
    const u32 half = b >> 16, rest = b & 0xffff;
    if (x != x) return 0x7fff;
    return u16(half + (rest > 0x8000 || (rest == 0x8000 && (half & 1))));
}
// 10 bits after the point, ties away from zero.
u32 to_tf32(f32 x) {
    const u32 b = bits<u32>(x);
    if (x != x) return 0x7fffffffu;
    if ((b & 0x7f800000u) == 0x7f800000u) return b;
    return (b & 0x80000000u) | (((b & 0x7fffffffu) + 0x1000u) & ~0x1fffu);
}

// Clamped; a NaN is 0.
template <typename To, typename From>
To to_integer(From x) {
    constexpr int width = sizeof(To) * 8 - std::is_signed_v<To>;
    const From end = From(width == 64 ? 0x1p64 : f64(1ull << width % 64));  // past the largest
    if (x != x) return 0;
    if (x >= end) return std::numeric_limits<To>::max();
    if (x <= (std::is_signed_v<To> ? -end : From(0))) return std::numeric_limits<To>::min();
    return To(x);
}

f32 saturate(f32 x) {
    return x > 0 ? (x < 1 ? x : 1) : 0;
}  // a NaN is 0

std::string cvt(const std::string& how, const char* to, const char* from) {
    return "cvt" + how + "." + to + "." + from;
}

template <typename To, typename From>
void add_integer(Table& table, const char* to, const char* from) {
    table.plain<[](From a) -> To { return To(a); }>(cvt("", to, from));
}

// From an integer to all wider or narrower ones, and to floating point.
template <typename From>
void add_from(Table& table, const char* from) {
    add_integer<s16, From>(table, "s16", from);
    add_integer<u16, From>(table, "u16", from);
    add_integer<s32, From>(table, "s32", from);
    add_integer<u32, From>(table, "u32", from);
    add_integer<s64, From>(table, "s64", from);
    add_integer<u64, From>(table, "u64", from);
    table.plain<[](From a) -> u16 { return u16(u8(a)); }>(cvt("", "u8", from));
    table.plain<[](From a) -> s16 { return s16(s8(a)); }>(cvt("", "s8", from));
    table.plain<[](From a) -> u16 { return to_half(f64(a)); }>(cvt(".rn", "f16", from));
    table.plain<[](From a) -> f32 { return f32(a); }>(cvt(".rn", "f32", from));
    table.plain<[](From a) -> f64 { return f64(a); }>(cvt(".rn", "f64", from));
}

void add_from_bytes(Table& table) {
    table.plain<[](u16 a) -> u16 { return a & 255; }>("cvt.u16.u8 cvt.s16.u8");
    table.plain<[](u16 a) -> u32 { return a & 255; }>("cvt.u32.u8 cvt.s32.u8");
    table.plain<[](u16 a) -> u64 { return a & 255; }>("cvt.u64.u8 cvt.s64.u8");
    table.plain<[](s16 a) -> s16 { return s8(a); }>("cvt.s16.s8 cvt.u16.s8");
    table.plain<[](s16 a) -> s32 { return s8(a); }>("cvt.s32.s8 cvt.u32.s8");
    table.plain<[](s16 a) -> s64 { return s8(a); }>("cvt.s64.s8 cvt.u64.s8");
    table.plain<[](u16 a) -> u16 { return to_half(f32(a & 255)); }>("cvt.rn.f16.u8");
    table.plain<[](s16 a) -> u16 { return to_half(f32(s8(a))); }>("cvt.rn.f16.s8");
    table.plain<[](u16 a) -> f32 { return f32(a & 255); }>("cvt.rn.f32.u8");
    table.plain<[](s16 a) -> f32 { return f32(s8(a)); }>("cvt.rn.f32.s8");
    table.plain<[](u16 a) -> f64 { return f64(a & 255); }>("cvt.rn.f64.u8");
    table.plain<[](s16 a) -> f64 { return f64(s8(a)); }>("cvt.rn.f64.s8");
}

// From floating point to an integer, rounded in each way.
template <typename To>
void add_roundings(Table& table, const char* to) {
    const auto names = [&](const char* how) {
        return cvt(how, to, "f32") + " " + cvt(how + std::string(".ftz"), to, "f32");
    };
    // Of these a subnormal makes the same as a zero ...
    table.plain<[](f32 a) -> To { return to_integer<To>(std::trunc(a)); }>(names(".rzi"));
    table.plain<[](f32 a) -> To { return to_integer<To>(std::nearbyint(a)); }>(names(".rni"));
    // ... and of these it does not
    table.plain<[](f32 a) -> To { return to_integer<To>(std::floor(a)); }>(cvt(".rmi", to, "f32"));
    table.plain<[](f32 a) -> To { return to_integer<To>(std::ceil(a)); }>(cvt(".rpi", to, "f32"));
    table.plain<[](f32 a) -> To { return to_integer<To>(std::floor(flush(a))); }>(
        cvt(".rmi.ftz", to, "f32"));
    table.plain<[](f32 a) -> To { return to_integer<To>(std::ceil(flush(a))); }>(
        cvt(".rpi.ftz", to, "f32"));
    table.plain<[](f64 a) -> To { return to_integer<To>(std::trunc(a)); }>(cvt(".rzi", to, "f64"));
    table.plain<[](f64 a) -> To { return to_integer<To>(std::nearbyint(a)); }>(
        cvt(".rni", to, "f64"));
    table.plain<[](f64 a) -> To { return to_integer<To>(std::floor(a)); }>(cvt(".rmi", to, "f64"));
    table.plain<[](f64 a) -> To { return to_integer<To>(std::ceil(a)); }>(cvt(".rpi", to, "f64"));
    table.plain<[](u16 a) -> To { return to_integer<To>(std::trunc(from_half(a))); }>(
        cvt(".rzi", to, "f16"));
}

// To whole numbers, which stay floating point.
template <typename T, bool ftz>
void add_whole(Table& table, const std::string& flag, const char* type) {
    using F = Flushing<T, ftz>;
    const auto name = [&](const char* how) { return cvt(how + flag, type, type); };
    table.plain<[](T a) -> T { return F::result(std::trunc(F::in(a))); }>(name(".rzi"));
    table.plain<[](T a) -> T { return F::result(std::nearbyint(F::in(a))); }>(name(".rni"));
    table.plain<[](T a) -> T { return F::result(std::floor(F::in(a))); }>(name(".rmi"));
    table.plain<[](T a) -> T { return F::result(std::ceil(F::in(a))); }>(name(".rpi"));
}

void add_between_floats(Table& table) {
    table.plain<[](f32 a) -> f64 { return f64(flush(a)); }>("cvt.ftz.f64.f32");
    table.plain<[](f32 a) -> f64 { return f64(a); }>("cvt.f64.f32");
    table.plain<[](f64 a) -> f32 { return flushed_result(f32(a)); }>("cvt.rn.ftz.f32.f64");
    table.plain<[](f64 a) -> f32 { return canonical(f32(a)); }>("cvt.rn.f32.f64");
    table.plain<[](f32 a) -> f32 { return saturate(flush(a)); }>("cvt.ftz.sat.f32.f32");
    table.plain<[](f32 a) -> f32 { return saturate(a); }>("cvt.sat.f32.f32");
    table.plain<[](f32 a) -> f32 { return flushed_result(a); }>("cvt.ftz.f32.f32");
    table.plain<[](u16 a) -> f32 { return from_half(a); }>("cvt.f32.f16 cvt.ftz.f32.f16");
    table.plain<[](u16 a) -> f64 { return f64(from_half(a)); }>("cvt.f64.f16");
    table.plain<[](f32 a) -> u16 { return to_half(a); }>("cvt.rn.f16.f32 cvt.rn.ftz.f16.f32");
    table.plain<[](f64 a) -> u16 { return to_half(a); }>("cvt.rn.f16.f64");
    table.plain<[](f32 a, f32 b) -> u32 { return u32(to_bfloat16(a)) << 16 | to_bfloat16(b); }>(
        "cvt.rn.bf16x2.f32");
    table.plain<[](f32 a) -> u16 { return to_bfloat16(a); }>("cvt.rn.bf16.f32");
    table.plain<[](u16 a) -> f32 { return bits<f32>(u32(a) << 16); }>("cvt.f32.bf16");
    table.plain<[](f32 a) -> u32 { return to_tf32(a); }>("cvt.rna.tf32.f32");
    add_whole<f32, false>(table, "", "f32");
    add_whole<f32, true>(table, ".ftz", "f32");
    add_whole<f64, false>(table, "", "f64");
}

}  // namespace

void add_conversions(Table& table) {
    add_from<s16>(table, "s16");
    add_from<u16>(table, "u16");
    add_from<s32>(table, "s32");
    add_from<u32>(table, "u32");
    add_from<s64>(table, "s64");
    add_from<u64>(table, "u64");
    add_from_bytes(table);
    add_roundings<s32>(table, "s32");
    add_roundings<u32>(table, "u32");
    add_roundings<s64>(table, "s64");
    add_roundings<u64>(table, "u64");
    add_roundings<s16>(table, "s16");
    add_roundings<u16>(table, "u16");
    add_between_floats(table);
}

}  // namespace softgpu
