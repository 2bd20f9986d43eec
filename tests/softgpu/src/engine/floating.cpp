// Arithmetic and comparisons of floating point, rounded as IEEE 754 says.
#include <cfenv>
#include <cmath>

#include "numbers.hpp"

namespace softgpu {

namespace {

template <typename T>
T fused(T a, T b, T c) {
    if constexpr (sizeof(T) == 4)
        return __builtin_fmaf(a, b, c);
    else
        return __builtin_fma(a, b, c);
}

// A NaN loses, and -0 is less than +0.
template <typename T>
T least(T x, T y) {
    return x != x ? y : y != y ? x : x == y ? (std::signbit(x) ? x : y) : x < y ? x : y;
}
template <typename T>
T greatest(T x, T y) {
    return x != x ? y : y != y ? x : x == y ? (std::signbit(x) ? y : x) : x < y ? y : x;
}

template <typename T, bool ftz>
void add_arithmetic(Table& table, const std::string& type) {
    using F = Flushing<T, ftz>;
    const auto names = [&](const std::string& name) {
        return name + type + " " + name + ".rn" + type;
    };
    table.plain<[](T a, T b) -> T { return F::result(F::in(a) + F::in(b)); }>(names("add"));
    table.plain<[](T a, T b) -> T { return F::result(F::in(a) - F::in(b)); }>(names("sub"));
    table.plain<[](T a, T b) -> T { return F::result(F::in(a) * F::in(b)); }>(names("mul"));
    table.plain<[](T a, T b, T c) -> T { return F::result(fused(F::in(a), F::in(b), F::in(c))); }>(
        "fma.rn" + type);
    table.plain<[](T a, T b) -> T { return F::result(F::in(a) / F::in(b)); }>("div.rn" + type);
    table.plain<[](T a) -> T { return F::result(1 / F::in(a)); }>("rcp.rn" + type);
    table.plain<[](T a) -> T { return F::result(std::sqrt(F::in(a))); }>("sqrt.rn" + type);
    table.plain<[](T a) -> T { return -F::in(a); }>("neg" + type);
    table.plain<[](T a) -> T { return std::fabs(F::in(a)); }>("abs" + type);
    table.plain<[](T a, T b) -> T { return F::result(least(F::in(a), F::in(b))); }>("min" + type);
    table.plain<[](T a, T b) -> T { return F::result(greatest(F::in(a), F::in(b))); }>("max" +
                                                                                       type);
}

template <typename T, bool ftz>
void add_comparisons(Table& table, const std::string& type) {
    using F = Flushing<T, ftz>;
    // A comparison with a NaN is false ...
    table.plain<[](T a, T b) -> pred { return yes(F::in(a) == F::in(b)); }>("setp.eq" + type);
    table
        .plain<[](T a, T b) -> pred { return yes((F::in(a) < F::in(b)) | (F::in(a) > F::in(b))); }>(
            "setp.ne" + type);
    table.plain<[](T a, T b) -> pred { return yes(F::in(a) < F::in(b)); }>("setp.lt" + type);
    table.plain<[](T a, T b) -> pred { return yes(F::in(a) <= F::in(b)); }>("setp.le" + type);
    table.plain<[](T a, T b) -> pred { return yes(F::in(a) > F::in(b)); }>("setp.gt" + type);
    table.plain<[](T a, T b) -> pred { return yes(F::in(a) >= F::in(b)); }>("setp.ge" + type);
    // ... or true
    table.plain<[](T a, T b) -> pred {
        return yes(!((F::in(a) < F::in(b)) | (F::in(a) > F::in(b))));
    }>("setp.equ" + type);
    table.plain<[](T a, T b) -> pred { return yes(!(F::in(a) == F::in(b))); }>("setp.neu" + type);
    table.plain<[](T a, T b) -> pred { return yes(!(F::in(a) >= F::in(b))); }>("setp.ltu" + type);
    table.plain<[](T a, T b) -> pred { return yes(!(F::in(a) > F::in(b))); }>("setp.leu" + type);
    table.plain<[](T a, T b) -> pred { return yes(!(F::in(a) <= F::in(b))); }>("setp.gtu" + type);
    table.plain<[](T a, T b) -> pred { return yes(!(F::in(a) < F::in(b))); }>("setp.geu" + type);
    table.plain<[](T a, T b) -> pred { return yes(a == a && b == b); }>("setp.num" + type);
    table.plain<[](T a, T b) -> pred { return yes(a != a || b != b); }>("setp.nan" + type);
}

// Directed rounding: the host's unit does it.
template <int mode, typename F>
auto rounded(F f) {
    const int before = std::fegetround();
    std::fesetround(mode);
    const auto result = f();
    std::fesetround(before);
    return result;
}
// What is volatile is computed here and now, between the changes of the mode.
template <typename T>
T now(T x) {
    volatile T held = x;
    return held;
}

template <typename T, bool ftz, int mode>
void add_rounded(Table& table, const std::string& how, const std::string& type) {
    using F = Flushing<T, ftz>;
    table.plain<[](T a, T b) -> T {
        return F::result(rounded<mode>([&] { return now(now(F::in(a)) + now(F::in(b))); }));
    }>("add" + how + type);
    table.plain<[](T a, T b) -> T {
        return F::result(rounded<mode>([&] { return now(now(F::in(a)) - now(F::in(b))); }));
    }>("sub" + how + type);
    table.plain<[](T a, T b) -> T {
        return F::result(rounded<mode>([&] { return now(now(F::in(a)) * now(F::in(b))); }));
    }>("mul" + how + type);
    table.plain<[](T a, T b) -> T {
        return F::result(rounded<mode>([&] { return now(now(F::in(a)) / now(F::in(b))); }));
    }>("div" + how + type);
    table.plain<[](T a, T b, T c) -> T {
        return F::result(
            rounded<mode>([&] { return now(fused(now(F::in(a)), now(F::in(b)), now(F::in(c)))); }));
    }>("fma" + how + type);
}

template <typename T, bool ftz>
void add_type(Table& table, const std::string& type) {
    add_arithmetic<T, ftz>(table, type);
    add_comparisons<T, ftz>(table, type);
    add_rounded<T, ftz, FE_TOWARDZERO>(table, ".rz", type);
    add_rounded<T, ftz, FE_DOWNWARD>(table, ".rm", type);
    add_rounded<T, ftz, FE_UPWARD>(table, ".rp", type);
}

}  // namespace

void add_floating(Table& table) {
    add_type<f32, true>(table, ".ftz.f32");
    add_type<f32, false>(table, ".f32");
    add_type<f64, false>(table, ".f64");
    table.plain<[](f32 a) -> f32 { return a; }>("mov.f32");
    table.plain<[](f64 a) -> f64 { return a; }>("mov.f64");
    table.plain<[](f32 a, f32 b, pred p) -> f32 { return p.bit ? a : b; }>("selp.f32");
    table.plain<[](f64 a, f64 b, pred p) -> f64 { return p.bit ? a : b; }>("selp.f64");
    table.plain<[](u32 a, u32 b) -> u32 { return (a & 1u << 31) | (b & ~(1u << 31)); }>(
        "copysign.f32");
    table.plain<[](u64 a, u64 b) -> u64 { return (a & 1ull << 63) | (b & ~(1ull << 63)); }>(
        "copysign.f64");
    table.plain<[](f32 a) -> pred { return yes(std::isfinite(a)); }>("testp.finite.f32");
    table.plain<[](f32 a) -> pred { return yes(std::isinf(a)); }>("testp.infinite.f32");
    table.plain<[](f32 a) -> pred { return yes(a != a); }>("testp.notanumber.f32");
    table.plain<[](f64 a) -> pred { return yes(std::isfinite(a)); }>("testp.finite.f64");
    table.plain<[](f64 a) -> pred { return yes(std::isinf(a)); }>("testp.infinite.f64");
    table.plain<[](f64 a) -> pred { return yes(a != a); }>("testp.notanumber.f64");
}

}  // namespace softgpu
