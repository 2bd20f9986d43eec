// Plain arithmetic: the same function of registers in every lane.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "machine.hpp"
#include "operations.hpp"

namespace softgpu {

// A lane of a predicate register.
struct pred {
    u32 bit;
};
inline pred yes(bool b) {
    return {u32(b)};
}

template <typename To, typename From>
To bits(From x) {
    static_assert(sizeof(To) == sizeof(From));
    To y;
    memcpy(&y, &x, sizeof y);
    return y;
}

// The operations by their names.
class Table {
  public:
    void add(const std::string& name, Operation operation);
    const Operation* find(const std::string& name) const;

    // Add a function of some types, which is a captureless lambda, under names with blanks between.
    template <auto f>
    void plain(const std::string& names);

  private:
    std::map<std::string, Operation> operations;
};

// Each adds what its file knows.
void add_integers(Table& table);
void add_bits(Table& table);
void add_floating(Table& table);
void add_approximate(Table& table);
void add_conversions(Table& table);
void add_memory(Table& table);
void add_copies(Table& table);
void add_atomics(Table& table);
void add_warps(Table& table);
void add_tensor_cores(Table& table);

template <typename F>
struct Signature;

template <typename C, typename D, typename... A>
struct Signature<D (C::*)(A...) const> {
    template <auto f, size_t... I>
    static void run(Machine& m, const Instruction& s, std::index_sequence<I...>) {
        D* __restrict d = reg<D>(m, s.arg[0]);
        const auto from = std::make_tuple(reg<A>(m, s.arg[I + 1])...);
        if (m.full) {
#pragma GCC ivdep
            for (int i = 0; i < lanes; i++) d[i] = f(std::get<I>(from)[i]...);
        } else {
            const u32* active = m.active;
#pragma GCC ivdep
            for (int i = 0; i < lanes; i++) {
                const D result = f(std::get<I>(from)[i]...);
                d[i] = active[i] ? result : d[i];
            }
        }
    }

    template <typename T>
    static constexpr char letter = std::is_same_v<T, pred> ? 'p'
                                   : sizeof(T) == 2        ? 'h'
                                   : sizeof(T) == 4        ? 'w'
                                                           : 'd';
    static std::string widths() { return {letter<D>, letter<A>...}; }
    static constexpr size_t count = sizeof...(A);
};

template <auto f>
void run_plain(Machine& m, const Instruction& s) {
    using S = Signature<decltype(&decltype(f)::operator())>;
    S::template run<f>(m, s, std::make_index_sequence<S::count>());
}

template <auto f>
void Table::plain(const std::string& names) {
    using S = Signature<decltype(&decltype(f)::operator())>;
    size_t begin = 0;
    while (begin < names.size()) {
        const size_t end = std::min(names.find(' ', begin), names.size());
        add(names.substr(begin, end - begin), {"", run_plain<f>, Kind::plain, S::widths()});
        begin = end + 1;
    }
}

// What a lane does in an operation that is not plain: only active lanes may do it.
template <typename F>
void for_active(const Machine& m, F f) {
    for (u32 rest = m.mask; rest; rest &= rest - 1) f(__builtin_ctz(rest));
}

}  // namespace softgpu
