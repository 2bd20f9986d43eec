// Instructions that only approximate a function. The host's function takes their place, in double
// precision and rounded once.
#include <cmath>

#include "numbers.hpp"

namespace softgpu {

namespace {

f64 reciprocal(f64 x) {
    return 1 / x;
}
f64 reciprocal_root(f64 x) {
    return 1 / std::sqrt(x);
}

// As wrong as the ISA allows, if asked for: always in the same way for the same operand, and not at
// all where the result is a float (libdevice counts on 2^n of whole n).
f32 roughly(f32 x, f64 exact, f64 relative, bool rough) {
    if (rough && std::isfinite(exact) && f64(f32(exact)) != exact)
        exact *= 1 + relative * (bits<u32>(x) * 2654435761u >> 31 ? 1 : -1);
    return f32(exact);
}

// A function of a float that may be off by 2^-`bits` of the result.
template <f64 (*f)(f64), int bits, bool ftz>
void run(Machine& m, const Instruction& s) {
    using F = Flushing<f32, ftz>;
    f32* d = reg<f32>(m, s.arg[0]);
    const f32* a = reg<f32>(m, s.arg[1]);
    const bool rough = m.settings.rough;
    const f64 relative = std::ldexp(1.0, -bits);
    for_active(m, [&](int i) { d[i] = F::result(roughly(a[i], f(F::in(a[i])), relative, rough)); });
}

template <f64 (*f)(f64), int bits>
void add(Table& table, const std::string& name) {
    table.add(name + ".approx.ftz.f32", {"", run<f, bits, true>, Kind::plain, "ww"});
    table.add(name + ".approx.f32", {"", run<f, bits, false>, Kind::plain, "ww"});
}

// div.approx and div.full: within two units in the last place
template <bool ftz>
void divide(Machine& m, const Instruction& s) {
    using F = Flushing<f32, ftz>;
    f32* d = reg<f32>(m, s.arg[0]);
    const f32 *a = reg<f32>(m, s.arg[1]), *b = reg<f32>(m, s.arg[2]);
    const bool rough = m.settings.rough;
    for_active(m, [&](int i) {
        const f64 exact = f64(F::in(a[i])) / f64(F::in(b[i]));
        d[i] = F::result(roughly(a[i], exact, 0x1p-22, rough));
    });
}

// Of a double only the upper half: 20 bits of the mantissa, and subnormals are zeros.
f64 flush_subnormal(f64 x) {
    return std::fabs(x) < 0x1p-1022 ? std::copysign(0.0, x) : x;
}
f64 upper_half(f64 x) {
    return bits<f64>(bits<u64>(x) & 0xffffffff00000000ull);
}

}  // namespace

void add_approximate(Table& table) {
    add<std::exp2, 22>(table, "ex2");
    add<std::log2, 22>(table, "lg2");
    add<reciprocal, 23>(table, "rcp");
    add<reciprocal_root, 22>(table, "rsqrt");
    add<std::sqrt, 23>(table, "sqrt");
    add<std::sin, 20>(table, "sin");
    add<std::cos, 20>(table, "cos");
    table.add("tanh.approx.f32", {"", run<std::tanh, 11, false>, Kind::plain, "ww"});
    for (const char* name : {"div.full", "div.approx"}) {
        table.add(std::string(name) + ".ftz.f32", {"", divide<true>, Kind::plain, "www"});
        table.add(std::string(name) + ".f32", {"", divide<false>, Kind::plain, "www"});
    }
    table.plain<[](f64 a) -> f64 { return upper_half(flush_subnormal(1 / flush_subnormal(a))); }>(
        "rcp.approx.ftz.f64");
    table.plain<[](f64 a) -> f64 { return upper_half(1 / std::sqrt(flush_subnormal(a))); }>(
        "rsqrt.approx.ftz.f64");
    table.plain<[](f64 a) -> f64 { return upper_half(1 / std::sqrt(a)); }>("rsqrt.approx.f64");
}

}  // namespace softgpu
