// Arithmetic and comparisons of integers.
#include "faults.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

// The type with twice the bits.
template <typename T>
using Wide = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, s32, u32>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, s64, u64>,
                       std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;

template <typename T>
T high(T a, T b) {
    return T(Wide<T>(a) * Wide<T>(b) >> 8 * sizeof(T));
}

template <typename T, bool remainder>
void divide(Machine& m, const Instruction& s) {
    T* d = reg<T>(m, s.arg[0]);
    const T *a = reg<T>(m, s.arg[1]), *b = reg<T>(m, s.arg[2]);
    for_active(m, [&](int i) {
        if (b[i] == 0) return fail(m, i, "division of an integer by zero");
        if (std::is_signed_v<T> && b[i] == T(-1))  // the least number has no negative
            d[i] = remainder ? T(0) : T(0 - std::make_unsigned_t<T>(a[i]));
        else
            d[i] = remainder ? a[i] % b[i] : a[i] / b[i];
    });
}

template <typename T>
void add_comparisons(Table& table, const std::string& type) {
    table.plain<[](T a, T b) -> pred { return yes(a == b); }>("setp.eq" + type);
    table.plain<[](T a, T b) -> pred { return yes(a != b); }>("setp.ne" + type);
    table.plain<[](T a, T b) -> pred { return yes(a < b); }>(
        "setp.lt" + type + (std::is_signed_v<T> ? "" : " setp.lo" + type));
    table.plain<[](T a, T b) -> pred { return yes(a <= b); }>(
        "setp.le" + type + (std::is_signed_v<T> ? "" : " setp.ls" + type));
    table.plain<[](T a, T b) -> pred { return yes(a > b); }>(
        "setp.gt" + type + (std::is_signed_v<T> ? "" : " setp.hi" + type));
    table.plain<[](T a, T b) -> pred { return yes(a >= b); }>(
        "setp.ge" + type + (std::is_signed_v<T> ? "" : " setp.hs" + type));
}

template <typename T>
void add_type(Table& table, const std::string& type) {
    using U = std::make_unsigned_t<T>;
    table.plain<[](T a, T b) -> T { return T(U(a) + U(b)); }>("add" + type);
    table.plain<[](T a, T b) -> T { return T(U(a) - U(b)); }>("sub" + type);
    const std::string widths(3, sizeof(T) == 2 ? 'h' : sizeof(T) == 4 ? 'w' : 'd');
    table.add("div" + type, {"", divide<T, false>, Kind::plain, widths});
    table.add("rem" + type, {"", divide<T, true>, Kind::plain, widths});
    // Two factors of 16 bits are no int, which their product could overflow
    using Product = std::common_type_t<U, u32>;
    table.plain<[](T a, T b) -> T { return T(Product(U(a)) * U(b)); }>("mul.lo" + type);
    table.plain<[](T a, T b, T c) -> T { return T(Product(U(a)) * U(b) + U(c)); }>("mad.lo" + type);
    table.plain<[](T a, T b, T c) -> T { return T(high(a, b) + U(c)); }>("mad.hi" + type);
    table.plain<[](T a, T b) -> T { return high(a, b); }>("mul.hi" + type);
    table.plain<[](T a, T b) -> T { return a < b ? a : b; }>("min" + type);
    table.plain<[](T a, T b) -> T { return a < b ? b : a; }>("max" + type);
    table.plain<[](T a, T b, T c) -> T { return T((a < b ? U(b) - U(a) : U(a) - U(b)) + U(c)); }>(
        "sad" + type);
    table.plain<[](T a, T b, pred p) -> T { return p.bit ? a : b; }>("selp" + type);
    table.plain<[](T a) -> T { return a; }>("mov" + type);
    add_comparisons<T>(table, type);
    if constexpr (std::is_signed_v<T>) {
        table.plain<[](T a) -> T { return T(0 - U(a)); }>("neg" + type);
        table.plain<[](T a) -> T { return a < 0 ? T(0 - U(a)) : a; }>("abs" + type);
    }
    if constexpr (sizeof(T) < 8) {
        using W = Wide<T>;
        using UW = std::make_unsigned_t<W>;
        table.plain<[](T a, T b) -> W { return W(a) * W(b); }>("mul.wide" + type);
        table.plain<[](T a, T b, W c) -> W { return W(UW(W(a) * W(b)) + UW(c)); }>("mad.wide" +
                                                                                   type);
    }
}

// With the carry flag. `Factor`: the first operand is the low or the high half of a product.
enum class Factor { none, low, high };

template <Factor factor, bool takes, bool gives, bool minus>
void run_with_carry(Machine& m, const Instruction& s) {
    u32* d = reg<u32>(m, s.arg[0]);
    const u32 *a = reg<u32>(m, s.arg[1]), *b = reg<u32>(m, s.arg[2]);
    u32* carry = m.warp->carry;
    for_active(m, [&](int i) {
        u64 x = a[i], y = b[i];
        if (factor != Factor::none) {
            const u64 product = x * y;
            x = factor == Factor::high ? product >> 32 : product & 0xffffffffu;
            y = reg<u32>(m, s.arg[3])[i];
        }
        const u64 in = takes ? carry[i] : 0;
        x = minus ? x - y - in : x + y + in;
        if (gives) carry[i] = x >> 32 & 1;
        d[i] = u32(x);
    });
}

template <bool gives>
void add_with_carry(Table& table, const std::string& type) {
    const auto add = [&](const char* name, auto* run, const char* widths) {
        table.add(name + type, {"", run, Kind::plain, widths});
    };
    if (gives) {  // without, these are plain
        add("add", run_with_carry<Factor::none, false, gives, false>, "www");
        add("sub", run_with_carry<Factor::none, false, gives, true>, "www");
        add("mad.lo", run_with_carry<Factor::low, false, gives, false>, "wwww");
        add("mad.hi", run_with_carry<Factor::high, false, gives, false>, "wwww");
    }
    add("addc", run_with_carry<Factor::none, true, gives, false>, "www");
    add("subc", run_with_carry<Factor::none, true, gives, true>, "www");
    add("madc.lo", run_with_carry<Factor::low, true, gives, false>, "wwww");
    add("madc.hi", run_with_carry<Factor::high, true, gives, false>, "wwww");
}

}  // namespace

void add_integers(Table& table) {
    add_type<s16>(table, ".s16");
    add_type<u16>(table, ".u16");
    add_type<s32>(table, ".s32");
    add_type<u32>(table, ".u32");
    add_type<s64>(table, ".s64");
    add_type<u64>(table, ".u64");
    add_with_carry<true>(table, ".cc.u32");
    add_with_carry<true>(table, ".cc.s32");
    add_with_carry<false>(table, ".u32");
    add_with_carry<false>(table, ".s32");
}

}  // namespace softgpu
