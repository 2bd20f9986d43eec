#include "source_lines.hpp"

namespace softgpu {
namespace {

struct Location {
    SourceLine line;
    u64 key;
};

Location location(Cursor& at) {
    const s64 file = at.number(), line = at.number(), column = at.number();
    return {{s32(file), s32(line)}, u64(file) << 48 ^ u64(line) << 16 ^ u64(column)};
}

}  // namespace

void SourceLines::take(string_view loc) {
    Cursor at(loc);
    const Location here = location(at);
    s32 caller = -1;
    const size_t inlined = at.rest().find("inlined_at");
    if (inlined != string_view::npos) {
        Cursor outside(at.rest().substr(inlined));
        outside.take("inlined_at");
        // The call has a .loc of its own before this one, which says where it was inlined in turn.
        const Location call = location(outside);
        const auto [found, is_new] = latest.try_emplace(call.key, s32(places.size()));
        if (is_new) places.push_back({call.line, -1});
        caller = found->second;
    }
    current = s32(places.size());
    places.push_back({here.line, caller});
    latest[here.key] = current;
}

std::vector<SourceLine> SourceLines::now() const {
    std::vector<SourceLine> lines;
    for (s32 i = current; i >= 0; i = places[i].caller)
        if (places[i].line.line > 0) lines.push_back(places[i].line);  // 0: made by the compiler
    lines.insert(lines.end(), outer.begin(), outer.end());
    return lines;
}

}  // namespace softgpu
