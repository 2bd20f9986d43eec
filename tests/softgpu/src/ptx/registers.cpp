#include "registers.hpp"

#include <cstring>

#include "declarations.hpp"

namespace softgpu {
namespace {

// What a register holds that nobody wrote: NaN, or a large number.
constexpr u32 poison = 0x7fffa55a;

}  // namespace

Register RegisterFile::append(char width) {
    const Register r{s32(file.size()), width};
    file.resize(file.size() + size_t(bytes_of_width(width)) * lanes);
    return r;
}

Register RegisterFile::allocate(char width) {
    std::vector<s32>& free = released[u8(width)];
    if (!free.empty()) {
        const Register r{free.back(), width};
        free.pop_back();
        return r;
    }
    const Register r = append(width);
    if (width == 'p') return r;  // 0 or 1 at any time
    for (size_t i = size_t(r.place); i < file.size(); i += sizeof poison)
        std::memcpy(&file[i], &poison, sizeof poison);
    return r;
}

void RegisterFile::release(Register r) {
    released[u8(r.width)].push_back(r.place);
}

Register RegisterFile::constant(u64 value, char width) {
    const auto [found, is_new] = constants[u8(width)].try_emplace(value, -1);
    if (is_new) {
        const Register r = append(width);
        set(r, value);
        found->second = r.place;
    }
    return {found->second, width};
}

Register RegisterFile::own_constant(char width) {
    return append(width);
}

void RegisterFile::set(Register r, u64 value) {
    const int n = bytes_of_width(r.width);
    if (n > int(sizeof value)) throw Unknown("a constant of 16 bytes");
    for (int i = 0; i < lanes; i++) std::memcpy(&file[r.place + i * n], &value, n);
}

Register RegisterFile::of_lanes(const std::array<u32, lanes>& values) {
    const Register r = append('w');
    std::memcpy(&file[r.place], values.data(), sizeof values);
    return r;
}

}  // namespace softgpu
