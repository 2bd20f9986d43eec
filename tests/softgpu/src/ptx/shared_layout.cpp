#include "shared_layout.hpp"

#include <algorithm>

namespace softgpu {

Register SharedLayout::address(const VariableDeclaration& variable, s64 offset, char width) {
    for (const Pointer& p : pointers)
        if (p.variable == variable.name && p.offset == offset && p.held.width == width)
            return p.held;
    const auto is_variable = [&](const Used& u) { return u.declared.name == variable.name; };
    if (std::none_of(used.begin(), used.end(), is_variable)) used.push_back({variable});
    pointers.push_back({variable.name, offset, file.own_constant(width)});
    return pointers.back().held;
}

void SharedLayout::finish(Program& program) {
    // The assembler packs variables in the order of their declarations, without those that the
    // kernel does not use. Names are pieces of the module's text: their places in memory tell it.
    std::sort(used.begin(), used.end(), [](const Used& a, const Used& b) {
        return a.declared.name.data() < b.declared.name.data();
    });
    u64 end = 0, packed = 0, dynamic_alignment = 1;
    for (Used& u : used) {
        const VariableDeclaration& v = u.declared;
        if (v.is_dynamic) {
            dynamic_alignment = std::max(dynamic_alignment, v.alignment);
            continue;
        }
        u.at = aligned(end ? end + red_zone : 0, v.alignment);
        end = u.at + v.bytes;
        packed = aligned(packed, v.alignment) + v.bytes;
        program.shared.push_back({std::string(v.name), u32(u.at), u32(end)});
    }
    // What pads the static ones to the alignment of dynamic shared memory counts among them.
    program.static_shared = s32(aligned(packed, dynamic_alignment));
    program.dynamic_at = u32(aligned(end + red_zone, std::max<u64>(dynamic_alignment, 128)));
    for (const Pointer& p : pointers) {
        for (const Used& u : used) {
            if (u.declared.name != p.variable) continue;
            const u64 at = u.declared.is_dynamic ? program.dynamic_at : u.at;
            file.set(p.held, at + u64(p.offset));
        }
    }
}

}  // namespace softgpu
