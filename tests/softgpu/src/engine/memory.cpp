// Loads and stores.
#include "addresses.hpp"
#include "faults.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

template <int size>
using Bits =
    std::conditional_t<size == 1, u8,
                       std::conditional_t<size == 2, u16, std::conditional_t<size == 4, u32, u64>>>;

// Call f with two types: the element in memory and the register that holds it.
template <typename F>
void with_types(const Instruction& s, F f) {
    const auto with_register = [&](auto element) {
        using Element = decltype(element);
        using Signed = std::make_signed_t<Element>;
        const auto with_sign = [&](auto held) {
            if (s.is_signed && sizeof(Element) < sizeof held)
                f(Signed(), held);
            else
                f(element, held);
        };
        if (s.register_bytes == 2)
            with_sign(s16());
        else if (s.register_bytes == 4)
            with_sign(s32());
        else
            with_sign(s64());
    };
    switch (s.element_bytes) {
        case 1:
            return with_register(u8());
        case 2:
            return with_register(u16());
        case 4:
            return with_register(u32());
        default:
            return with_register(u64());
    }
}

void run_load(Machine& m, const Instruction& s) {
    Places places;
    const int bytes = s.elements * s.element_bytes;
    if (!locate(m, s.address, bytes, s.read_only ? How::read_only : How::read, places,
                s.used_bytes))
        return;
    // A result may be a part of the address, but places are known by now
    with_types(s, [&](auto element, auto held) {
        using Element = decltype(element);
        for (int e = 0; e < s.elements; e++) {
            if (s.arg[e] < 0) continue;
            auto* d = reg<decltype(held)>(m, s.arg[e]);
            const auto load = [&](int i) {
                Element x;
                memcpy(&x, places[i] + e * sizeof x, sizeof x);
                d[i] = decltype(held)(x);
            };
            if (m.full)
                for (int i = 0; i < lanes; i++) load(i);
            else
                for_active(m, load);
        }
    });
}

void run_store(Machine& m, const Instruction& s) {
    Places places;
    if (!locate(m, s.address, s.elements * s.element_bytes, How::write, places)) return;
    with_types(s, [&](auto element, auto held) {
        for (int e = 0; e < s.elements; e++) {
            const auto* from = reg<decltype(held)>(m, s.arg[e]);
            for_active(m, [&](int i) {
                const auto x = decltype(element)(from[i]);
                memcpy(places[i] + e * sizeof x, &x, sizeof x);
            });
        }
    });
}

// All lanes read the same.
void run_load_parameter(Machine& m, const Instruction& s) {
    if (s.number + s.elements * s.element_bytes > m.program->parameter_bytes)
        return fail(m, __builtin_ctz(m.mask), "out of bounds: reads past the parameters");
    with_types(s, [&](auto element, auto held) {
        for (int e = 0; e < s.elements; e++) {
            decltype(element) x;
            memcpy(&x, m.launch->parameters + s.number + e * sizeof x, sizeof x);
            auto* d = reg<decltype(held)>(m, s.arg[e]);
            for_active(m, [&](int i) { d[i] = decltype(held)(x); });
        }
    });
}

void run_fence(Machine& m, const Instruction&) {
    m.time.clock++;
    for_active(m, [&](int i) { m.releases.fence(m.time, m.thread(i)); });
}

}  // namespace

void add_memory(Table& table) {
    table.add("ld", {"", run_load, Kind::plain, ""});
    table.add("st", {"", run_store, Kind::plain, ""});
    table.add("ld.param", {"", run_load_parameter, Kind::plain, ""});
    table.add("fence", {"", run_fence, Kind::plain, ""});
}

}  // namespace softgpu
