// Bits: logic, shifts, fields, moves, and what predicates and halves of registers take.
#include "addresses.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

// A shift by the width or more leaves nothing, or the sign.
template <typename T>
T shift_left(T x, u32 n) {
    return n >= 8 * sizeof(T) ? T(0) : T(x << n);
}
template <typename T>
T shift_right(T x, u32 n) {
    constexpr u32 width = 8 * sizeof(T);
    if (std::is_signed_v<T>) return T(x >> (n >= width ? width - 1 : n));
    return n >= width ? T(0) : T(x >> n);
}

u32 upper(u64 x) {
    return u32(x >> 32);
}

// shf: b and a as one number, shifted by less than 32
u32 funnel_left(u32 a, u32 b, u32 n) {
    return upper((u64(b) << 32 | a) << n);
}
u32 funnel_right(u32 a, u32 b, u32 n) {
    return u32((u64(b) << 32 | a) >> n);
}

// bfi: the low bits of a, put into b
template <typename T>
T insert(T a, T b, u32 position, u32 length) {
    const u32 width = 8 * sizeof(T);
    position &= 255, length &= 255;
    if (length == 0 || position >= width) return b;
    const T field = length >= width ? T(~T(0)) : T((T(1) << length) - 1);
    const T mask = T(field << position);
    return T((b & ~mask) | (T(a << position) & mask));
}

// bfe: beyond the ends lie zeros, or the sign
template <typename T>
T extract(T a, u32 position, u32 length) {
    const u32 width = 8 * sizeof(T);
    position &= 255, length &= 255;
    if (length == 0) return 0;
    const T shifted = shift_right(a, position);
    if (length >= width) return shifted;
    return shift_right(T(std::make_unsigned_t<T>(shifted) << (width - length)), width - length);
}

u32 permute(u32 a, u32 b, u32 choices) {  // prmt
    const u64 all = u64(b) << 32 | a;
    u32 result = 0;
    for (int i = 0; i < 4; i++) {
        const u32 choice = choices >> (4 * i) & 15;
        u32 x = u32(all >> (8 * (choice & 7))) & 255;
        if (choice & 8) x = x & 128 ? 255 : 0;
        result |= x << (8 * i);
    }
    return result;
}

u32 lookup(u32 a, u32 b, u32 c, u32 table) {  // lop3
    u32 result = 0;
    for (u32 i = 0; i < 8; i++)
        if (table >> i & 1) result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}

template <typename T>
T reversed(T a) {
    T result = 0;
    for (u32 i = 0; i < 8 * sizeof(T); i++) result |= (a >> i & 1) << (8 * sizeof(T) - 1 - i);
    return result;
}

// The place of the highest bit that is not the sign.
template <typename T>
u32 highest(T a) {
    const u64 x = a < 0 ? u64(s64(~a)) : u64(a);
    return x ? 63 - __builtin_clzll(x) : ~0u;
}

template <typename T>
void add_untyped(Table& table, const std::string& type) {
    table.plain<[](T a, T b) -> T { return a & b; }>("and" + type);
    table.plain<[](T a, T b) -> T { return a | b; }>("or" + type);
    table.plain<[](T a, T b) -> T { return a ^ b; }>("xor" + type);
    table.plain<[](T a) -> T { return T(~a); }>("not" + type);
    table.plain<[](T a, u32 n) -> T { return shift_left(a, n); }>("shl" + type);
    table.plain<[](T a, u32 n) -> T { return shift_right(a, n); }>("shr" + type);
    table.plain<[](T a, T b, pred p) -> T { return p.bit ? a : b; }>("selp" + type);
    table.plain<[](T a, T b) -> pred { return yes(a == b); }>("setp.eq" + type);
    table.plain<[](T a, T b) -> pred { return yes(a != b); }>("setp.ne" + type);
    table.plain<[](T a) -> T { return a; }>("mov" + type);
}

template <typename T>
void add_fields(Table& table, const std::string& type) {
    table.plain<[](T a, u32 b, u32 c) -> T { return extract(a, b, c); }>("bfe" + type);
    table.plain<[](T a) -> u32 { return highest(a); }>("bfind" + type);
    table.plain<[](T a) -> u32 {
        const u32 place = highest(a);
        return place == ~0u ? place : u32(8 * sizeof(T) - 1) - place;
    }>("bfind.shiftamt" + type);
}

void add_predicates(Table& table) {
    table.plain<[](pred a, pred b) -> pred { return {a.bit & b.bit}; }>("and.pred");
    table.plain<[](pred a, pred b) -> pred { return {a.bit | b.bit}; }>("or.pred");
    table.plain<[](pred a, pred b) -> pred { return {a.bit ^ b.bit}; }>("xor.pred");
    table.plain<[](pred a) -> pred { return {a.bit ^ 1}; }>("not.pred");
    table.plain<[](pred a) -> pred { return a; }>("mov.pred");
}

// mov.b64 {low, high}, x and back
void add_halves(Table& table) {
    table.plain<[](u64 a) -> u32 { return u32(a); }>("low64");
    table.plain<[](u64 a) -> u32 { return upper(a); }>("high64");
    table.plain<[](u32 a, u32 b) -> u64 { return u64(b) << 32 | a; }>("join64");
    table.plain<[](u32 a) -> u16 { return u16(a); }>("low32");
    table.plain<[](u32 a) -> u16 { return u16(upper(u64(a) << 16)); }>("high32");
    table.plain<[](u16 a, u16 b) -> u32 { return u32(b) << 16 | a; }>("join32");
}

}  // namespace

void add_bits(Table& table) {
    add_untyped<u16>(table, ".b16");
    add_untyped<u32>(table, ".b32");
    add_untyped<u64>(table, ".b64");
    table.plain<[](s16 a, u32 n) -> s16 { return shift_right(a, n); }>("shr.s16");
    table.plain<[](u16 a, u32 n) -> u16 { return shift_right(a, n); }>("shr.u16");
    table.plain<[](s32 a, u32 n) -> s32 { return shift_right(a, n); }>("shr.s32");
    table.plain<[](u32 a, u32 n) -> u32 { return shift_right(a, n); }>("shr.u32");
    table.plain<[](s64 a, u32 n) -> s64 { return shift_right(a, n); }>("shr.s64");
    table.plain<[](u64 a, u32 n) -> u64 { return shift_right(a, n); }>("shr.u64");
    add_fields<s32>(table, ".s32");
    add_fields<u32>(table, ".u32");
    add_fields<s64>(table, ".s64");
    add_fields<u64>(table, ".u64");
    table.plain<[](u32 a, u32 b, u32 c, u32 d) -> u32 { return insert(a, b, c, d); }>("bfi.b32");
    table.plain<[](u64 a, u64 b, u32 c, u32 d) -> u64 { return insert(a, b, c, d); }>("bfi.b64");
    table.plain<[](u32 a) -> u32 { return __builtin_popcount(a); }>("popc.b32");
    table.plain<[](u64 a) -> u32 { return __builtin_popcountll(a); }>("popc.b64");
    table.plain<[](u32 a) -> u32 { return a ? __builtin_clz(a) : 32; }>("clz.b32");
    table.plain<[](u64 a) -> u32 { return a ? __builtin_clzll(a) : 64; }>("clz.b64");
    table.plain<[](u32 a) -> u32 { return reversed(a); }>("brev.b32");
    table.plain<[](u64 a) -> u64 { return reversed(a); }>("brev.b64");
    table.plain<[](u32 a, u32 b, u32 c, u32 d) -> u32 { return lookup(a, b, c, d); }>("lop3.b32");
    table.plain<[](u32 a, u32 b, u32 c) -> u32 { return permute(a, b, c); }>("prmt.b32");
    table.plain<[](u32 a, u32 b, u32 n) -> u32 { return funnel_left(a, b, n & 31); }>(
        "shf.l.wrap.b32");
    table.plain<[](u32 a, u32 b, u32 n) -> u32 { return funnel_right(a, b, n & 31); }>(
        "shf.r.wrap.b32");
    table.plain<[](u32 a, u32 b, u32 n) -> u32 { return n < 32 ? funnel_left(a, b, n) : a; }>(
        "shf.l.clamp.b32");
    table.plain<[](u32 a, u32 b, u32 n) -> u32 { return n < 32 ? funnel_right(a, b, n) : b; }>(
        "shf.r.clamp.b32");
    add_predicates(table);
    add_halves(table);
    // Generic addresses of global and local memory are those of the host
    table.plain<[](u64 a) -> u64 { return a; }>(
        "cvta.to.global.u64 cvta.global.u64 cvta.local.u64 cvta.to.local.u64 cvta.const.u64 "
        "cvta.to.const.u64");
    table.plain<[](u64 a) -> u64 { return a + shared_window; }>("cvta.shared.u64");
    table.plain<[](u64 a) -> u64 { return a - shared_window; }>("cvta.to.shared.u64");
}

}  // namespace softgpu
