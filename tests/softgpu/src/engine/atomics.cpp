// Atomic operations. Lanes take turns, in ascending order.
#include "addresses.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

// `next` gives what comes to stand in memory, from what stood there and the lane's operands.
template <typename T, typename F>
void exchange(Machine& m, const Instruction& s, F next) {
    Places places;
    if (!locate(m, s.address, sizeof(T), How::atomic, places)) return;
    for_active(m, [&](int i) {
        T before;
        memcpy(&before, places[i], sizeof before);
        const T after = next(before, i);
        if (s.arg[0] >= 0) reg<T>(m, s.arg[0])[i] = before;
        memcpy(places[i], &after, sizeof after);
        const bool in_shared =
            places[i] >= m.shared.data() && places[i] < m.shared.data() + m.shared.size();
        if (m.settings.races && !in_shared)
            m.releases.synchronise(m.time, reinterpret_cast<u64>(places[i]), m.thread(i));
    });
}

template <auto f>
struct Atomic;
template <typename T, T (*f)(T, T)>
struct Atomic<f> {
    static void run(Machine& m, const Instruction& s) {
        const T* operand = reg<T>(m, s.arg[1]);
        exchange<T>(m, s, [&](T before, int i) { return f(before, operand[i]); });
    }
};

template <typename T>
void compare_and_swap(Machine& m, const Instruction& s) {
    const T *expected = reg<T>(m, s.arg[1]), *wanted = reg<T>(m, s.arg[2]);
    exchange<T>(m, s, [&](T before, int i) { return before == expected[i] ? wanted[i] : before; });
}

template <typename T>
T sum(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;
        return T(U(a) + U(b));
    } else {
        return a + b;
    }
}
template <typename T>
T least(T a, T b) {
    return b < a ? b : a;
}
template <typename T>
T greatest(T a, T b) {
    return a < b ? b : a;
}
template <typename T>
T conjunction(T a, T b) {
    return a & b;
}
template <typename T>
T disjunction(T a, T b) {
    return a | b;
}
template <typename T>
T difference(T a, T b) {
    return a ^ b;
}
template <typename T>
T second(T, T b) {
    return b;
}
template <typename T>
T increment(T a, T b) {
    return a >= b ? T(0) : T(a + 1);
}
template <typename T>
T decrement(T a, T b) {
    return a == 0 || a > b ? b : T(a - 1);
}

template <auto f>
void add(Table& table, const std::string& name) {
    table.add("atom." + name, {"", Atomic<f>::run, Kind::plain, ""});
}

template <typename T>
void add_numbers(Table& table, const std::string& type) {
    add<sum<T>>(table, "add" + type);
    add<least<T>>(table, "min" + type);
    add<greatest<T>>(table, "max" + type);
}

template <typename T>
void add_words(Table& table, const std::string& type) {
    add<conjunction<T>>(table, "and" + type);
    add<disjunction<T>>(table, "or" + type);
    add<difference<T>>(table, "xor" + type);
    add<second<T>>(table, "exch" + type);
    table.add("atom.cas" + type, {"", compare_and_swap<T>, Kind::plain, ""});
}

}  // namespace

void add_atomics(Table& table) {
    add_numbers<s32>(table, ".s32");
    add_numbers<u32>(table, ".u32");
    add_numbers<s64>(table, ".s64");
    add_numbers<u64>(table, ".u64");
    add<sum<f32>>(table, "add.f32");
    add<sum<f64>>(table, "add.f64");
    add_words<u32>(table, ".b32");
    add_words<u64>(table, ".b64");
    table.add("atom.cas.b16", {"", compare_and_swap<u16>, Kind::plain, ""});
    add<increment<u32>>(table, "inc.u32");
    add<decrement<u32>>(table, "dec.u32");
}

}  // namespace softgpu
