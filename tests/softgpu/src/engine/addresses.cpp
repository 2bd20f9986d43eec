#include "addresses.hpp"

#include <algorithm>

#include "faults.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

const char* verb(How how) {
    return how == How::read || how == How::read_only ? "reads" : "writes";
}

// The least and the greatest address of lanes, and all their bits.
struct Extent {
    u64 least = ~0ull, greatest = 0, bits = 0;

    Extent(const u64 (&at)[lanes], u32 mask) {
        if (mask == all_lanes) {
            for (int i = 0; i < lanes; i++) {
                least = std::min(least, at[i]);
                greatest = std::max(greatest, at[i]);
                bits |= at[i];
            }
            return;
        }
        for (u32 rest = mask; rest; rest &= rest - 1) {
            const u64 a = at[__builtin_ctz(rest)];
            least = std::min(least, a);
            greatest = std::max(greatest, a);
            bits |= a;
        }
    }
};

// Find the lane that is not aligned, and say so.
bool misaligned(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, int alignment, How how,
                const char* of) {
    for (u32 rest = mask; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        if (at[i] % alignment == 0) continue;
        fail(m, i, "misaligned: %s %d bytes at 0x%llx%s, which is no multiple of %d", verb(how),
             bytes, static_cast<unsigned long long>(at[i]), of, alignment);
        break;
    }
    return false;
}

void fail_global(Machine& m, int lane, u64 a, int bytes, How how) {
    const auto hexadecimal = static_cast<unsigned long long>(a);
    const Region* near = nullptr;
    u64 distance = ~0ull;
    for (const Region& r : m.launch->regions) {
        const u64 d = a < r.begin ? r.begin - a : a < r.end ? 0 : a - r.end;
        if (d < distance) distance = d, near = &r;
    }
    const std::string begin = text("out of bounds: %s %d bytes at", verb(how), bytes);
    if (!near || distance > 1u << 20)
        return fail(m, lane, "%s 0x%llx, which is no argument", begin.c_str(), hexadecimal);
    if (distance > 4096)
        return fail(m, lane, "%s 0x%llx, %llu bytes %s %s", begin.c_str(), hexadecimal,
                    static_cast<unsigned long long>(distance), a < near->begin ? "before" : "after",
                    near->name.c_str());
    fail(m, lane, "%s byte %lld of %s, which has %llu", begin.c_str(),
         static_cast<long long>(a - near->begin), near->name.c_str(),
         static_cast<unsigned long long>(near->end - near->begin));
}

void fail_shared(Machine& m, int lane, u64 a, int bytes, How how) {
    const std::string begin = text("out of bounds: %s %d bytes of shared memory", verb(how), bytes);
    if (m.variables.empty()) return fail(m, lane, "%s, of which there is none", begin.c_str());
    const Variable* before = variable_before(m, a);
    if (!before || a >= m.shared.size())
        return fail(m, lane, "%s at %lld, %s all variables", begin.c_str(),
                    static_cast<long long>(a), before ? "past" : "before");
    fail(m, lane, "%s at %s, which has %u", begin.c_str(), shared_place(m, u32(a)).c_str(),
         before->end - before->begin);
}

bool check_local(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, How how) {
    const u64 size = m.program->local_bytes;
    const Extent extent(at, mask);
    if (extent.bits % bytes) return misaligned(m, at, mask, bytes, bytes, how, " of local memory");
    for (u32 rest = mask; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        const u64 begin = reinterpret_cast<u64>(m.local.data()) + m.thread(i) * size;
        if (at[i] >= begin && at[i] + bytes <= begin + size) continue;
        fail(m, i, "out of bounds: %s %d bytes at byte %lld of local memory, which has %llu",
             verb(how), bytes, static_cast<long long>(at[i] - begin),
             static_cast<unsigned long long>(size));
        return false;
    }
    return true;
}

bool locate_global(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, How how,
                   Places& places) {
    if (!check_global(m, at, mask, bytes, bytes, how)) return false;
    if (m.settings.races)
        for (u32 rest = mask; rest; rest &= rest - 1) {
            const int i = __builtin_ctz(rest);
            if (!note_global(m, at[i], bytes, how, i)) return false;
        }
    for (int i = 0; i < lanes; i++)
        if (mask >> i & 1) places[i] = reinterpret_cast<u8*>(at[i]);
    return true;
}

bool locate_shared(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, How how, Places& places,
                   u32 used) {
    if (!check_shared(m, at, mask, bytes, bytes, how)) return false;
    for (u32 rest = mask; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        if (!note_shared(m, u32(at[i]), bytes, how, i, used)) return false;
        places[i] = m.shared.data() + at[i];
    }
    return true;
}

bool locate_local(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, How how,
                  Places& places) {
    if (!check_local(m, at, mask, bytes, how)) return false;
    for (u32 rest = mask; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        places[i] = reinterpret_cast<u8*>(at[i]);
    }
    return true;
}

}  // namespace

void compute_addresses(const Machine& m, const Address& address, u64 (&at)[lanes]) {
    const u64 offset = address.offset;
    if (address.base < 0)
        for (int i = 0; i < lanes; i++) at[i] = offset;
    else if (address.base_bytes == 4)
        for (int i = 0; i < lanes; i++) at[i] = u32(reg<u32>(m, address.base)[i] + offset);
    else
        for (int i = 0; i < lanes; i++) at[i] = reg<u64>(m, address.base)[i] + offset;
}

bool check_global(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, int alignment, How how) {
    const Extent extent(at, mask);
    if (extent.bits % alignment) return misaligned(m, at, mask, bytes, alignment, how, "");
    const std::vector<Region>& regions = m.launch->regions;
    u32& recent = m.recent_region[m.now - m.program->code.data()];
    const auto holds = [&](const Region& r, u64 a) {
        return a >= r.begin && a < r.end && r.end - a >= u64(bytes);
    };
    if (recent < regions.size() && holds(regions[recent], extent.least) &&
        holds(regions[recent], extent.greatest))
        return true;
    for (u32 rest = mask; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        if (recent < regions.size() && holds(regions[recent], at[i])) continue;
        const auto found = std::find_if(regions.begin(), regions.end(),
                                        [&](const Region& r) { return holds(r, at[i]); });
        if (found == regions.end()) {
            fail_global(m, i, at[i], bytes, how);
            return false;
        }
        recent = u32(found - regions.begin());
    }
    return true;
}

bool check_shared(Machine& m, const u64 (&at)[lanes], u32 mask, int bytes, int alignment, How how) {
    const Extent extent(at, mask);
    if (extent.bits % alignment)
        return misaligned(m, at, mask, bytes, alignment, how, " of shared memory");
    for (u32 rest = mask; rest; rest &= rest - 1) {
        const int i = __builtin_ctz(rest);
        bool within = at[i] + bytes <= m.shared.size();
        for (u64 a = at[i]; within && a < at[i] + bytes; a += 4) within = m.shared_map[a / 4];
        // A variable may end within a word
        if (within || std::any_of(m.variables.begin(), m.variables.end(), [&](const Variable& v) {
                return at[i] >= v.begin && at[i] + bytes <= v.end;
            }))
            continue;
        fail_shared(m, i, at[i], bytes, how);
        return false;
    }
    return true;
}

bool locate(Machine& m, const Address& address, int bytes, How how, Places& places, u32 used) {
    u64 at[lanes];
    compute_addresses(m, address, at);
    switch (address.space) {
        case Space::global:
            return locate_global(m, at, m.mask, bytes, how, places);
        case Space::shared:
            return locate_shared(m, at, m.mask, bytes, how, places, used);
        case Space::local:
            return locate_local(m, at, m.mask, bytes, how, places);
        case Space::generic:
            break;
    }
    u32 in_shared = 0, in_local = 0;
    const u64 local_begin = reinterpret_cast<u64>(m.local.data());
    for_active(m, [&](int i) {
        if (at[i] - shared_window < shared_window_bytes)
            in_shared |= 1u << i, at[i] -= shared_window;
        else if (at[i] - local_begin < m.local.size())
            in_local |= 1u << i;
    });
    const u32 in_global = m.mask & ~in_shared & ~in_local;
    return (!in_global || locate_global(m, at, in_global, bytes, how, places)) &&
           (!in_shared || locate_shared(m, at, in_shared, bytes, how, places, used)) &&
           (!in_local || locate_local(m, at, in_local, bytes, how, places));
}

}  // namespace softgpu
