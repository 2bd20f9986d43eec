#include "races.hpp"

#include <algorithm>

#include "faults.hpp"
#include "machine.hpp"

namespace softgpu {

// --- Cells ---------------------------------------------------------------------------------------

void Shadow::find(u64 number) {
    std::unique_ptr<Page>& page = pages[number];
    if (!page) {
        page = std::make_unique<Page>();
        held_bytes += sizeof(Page);
    }
    recent = page.get();
    recent_number = number;
}

Cell* Shadow::bytes(u64 address) {
    const u64 at = address % page_bytes / 4 * 4;
    Cell& whole = word(address);
    if (!recent->bytes) {
        recent->bytes = std::make_unique<Cell[]>(page_bytes);
        held_bytes += page_bytes * sizeof(Cell);
    }
    Cell* four = &recent->bytes[at];
    if (!(whole.write.flags & Access::split)) {
        std::fill(four, four + 4, whole);
        whole = {{special_tick, 0, Access::split}, {}};
    }
    return four;
}

void Shadow::clear() {
    pages.clear();
    recent_number = ~0ull;
    held_bytes = 0;
}

// --- Barriers of a warp
// ----------------------------------------------------------------------------

void WarpBarriers::wait(u32 mask, u32 present, u32 tick) {
    if ((mask & present) == present) return begin(tick);
    if (seen.empty()) seen.assign(lanes * lanes, last);
    // All who wait learn what one of them knows
    u32 known[lanes];
    for (int i = 0; i < lanes; i++) {
        known[i] = 0;
        for (int k = 0; k < lanes; k++)
            if (mask >> k & 1) known[i] = std::max(known[i], seen[k * lanes + i]);
        if (mask >> i & 1) known[i] = tick;
    }
    for (int k = 0; k < lanes; k++)
        if (mask >> k & 1) std::copy(known, known + lanes, &seen[k * lanes]);
}

u32 WarpBarriers::with_all(int knows) const {
    if (seen.empty()) return last;
    return std::max(last, *std::min_element(&seen[knows * lanes], &seen[knows * lanes] + lanes));
}

// --- Accesses
// --------------------------------------------------------------------------------------

namespace {

constexpr u16 several = Access::many_lanes | Access::many_warps | Access::many_blocks;

// A lane at work on a word or a byte. `begin`: what happened before counts no more, which is the
// begin of the launch for global memory, and that of the block for shared memory.
struct Visitor {
    Machine& m;
    const u32 begin;
    const bool shared;
    const int lane;
    const How how;
    const u16 thread = u16(m.thread(lane));
    const Timeline& time = m.time;

    bool is_known(const Access& a) const;
    void note(Access& a, u16 flag) const;
    bool race(const char* verb, const Access& other, const char* did, u64 address) const;
    bool visit(Cell& c, u64 address) const;
};

bool Visitor::is_known(const Access& a) const {
    if (a.tick < begin) return true;
    if (a.flags & Access::many_blocks && !m.releases.are_all_known(time, a.tick, thread))
        return false;
    if (a.tick < time.block_begin) return m.releases.is_known(time, a, thread);
    if (a.tick < time.barrier) return true;
    if (a.flags & Access::many_warps || a.thread / lanes != thread / lanes) return false;
    const WarpBarriers& barriers = m.warp->barriers;
    if (a.flags & Access::many_lanes) return a.tick < barriers.with_all(lane);
    return a.thread == thread || a.tick < barriers.between(lane, a.thread % lanes);
}

// Add this access to those that `a` stands for.
void Visitor::note(Access& a, u16 flag) const {
    u16 flags = 0;
    if (a.tick >= begin) {
        flags = a.flags;
        if (a.tick < time.block_begin)
            flags = (flags & ~several) | Access::many_blocks;
        else if (a.tick < time.barrier)
            flags &= ~(Access::many_lanes | Access::many_warps);
        else if (a.thread / lanes != thread / lanes)
            flags |= Access::many_warps;
        else if (a.tick < m.warp->barriers.with_all(lane))
            flags &= ~Access::many_lanes;
        else if (a.thread != thread)
            flags |= Access::many_lanes;
    }
    a = {time.clock, thread, u16(flags | flag)};
}

bool Visitor::race(const char* verb, const Access& other, const char* did, u64 address) const {
    const std::string place = shared ? shared_place(m, u32(address)) : global_place(m, address);
    std::string who = text("thread %d", other.thread);
    if (other.tick < time.block_begin) {
        u32 block[3];
        block_index(m, m.block_numbers[m.releases.block_at(other.tick)], block);
        who += text(" of block (%u, %u, %u)", block[0], block[1], block[2]);
    } else if (other.thread == thread) {
        who = other.flags & Access::many_blocks ? "other blocks" : "other threads";
    }
    fail(m, lane, "race: %s %s, which %s %s with no barrier between", verb, place.c_str(),
         who.c_str(), did);
    return false;
}

// Check an access and note it. False after a fault.
bool Visitor::visit(Cell& c, u64 address) const {
    const bool reads = how == How::read || how == How::read_only;
    const char* verb = reads ? "reads" : "writes";
    const auto place = [&] {
        return shared ? shared_place(m, u32(address)) : global_place(m, address);
    };
    if (c.write.flags & Access::copying) {
        fail(m, lane, "cp.async under way: %s %s, which thread %d has not waited for", verb,
             place().c_str(), c.write.thread);
        return false;
    }
    if (shared && c.write.tick < begin && (reads || how == How::atomic)) {
        if (m.settings.strict) {
            fail(m, lane, "uninitialised: reads %s, which nobody has written", place().c_str());
            return false;
        }
    }
    const bool check = m.settings.races;
    const bool both_atomic = how == How::atomic && c.write.flags & Access::atomic;
    if (check && !both_atomic && !is_known(c.write)) return race(verb, c.write, "wrote", address);
    if (reads) {
        if (how == How::read_only && c.write.tick >= begin) {
            fail(m, lane, "race: reads %s by ld.global.nc, which this launch writes",
                 place().c_str());
            return false;
        }
        note(c.read, how == How::read_only ? u16(Access::read_only) : u16(0));
        return true;
    }
    if (check && c.read.tick >= begin) {
        if (c.read.flags & Access::read_only) {
            fail(m, lane, "race: writes %s, which this launch reads by ld.global.nc",
                 place().c_str());
            return false;
        }
        if (!is_known(c.read)) return race(verb, c.read, "read", address);
    }
    if (both_atomic)
        note(c.write, Access::atomic);
    else
        c.write = {time.clock, thread, u16(how == How::atomic ? Access::atomic : 0)};
    if (how == How::copy) c.write = {special_tick, thread, Access::copying};
    c.read = {};
    return true;
}

// Words that are split, or of which a part is accessed, byte by byte.
bool visit_bytes(const Visitor& visitor, Shadow& shadow, u64 address, int bytes, u32 used) {
    Cell* four = shadow.bytes(address);
    const u64 word = address & ~3ull;
    for (int i = 0; i < bytes; i++)
        if (used >> i & 1 && !visitor.visit(four[address + i - word], address + i)) return false;
    if (bytes == 4 && four[0] == four[1] && four[0] == four[2] && four[0] == four[3])
        shadow.word(address) = four[0];
    return true;
}

bool visit_slowly(const Visitor& visitor, Shadow& shadow, u64 address, int bytes, u32 used) {
    Cell& cell = shadow.word(address);
    if (bytes < 4 || cell.write.flags & Access::split)
        return visit_bytes(visitor, shadow, address, bytes, used);
    return visitor.visit(cell, address);
}

}  // namespace

// The common cases are decided here, without a call: memory that was last written before the launch
// or before the last barrier, and read by nobody but this thread or by so many that one more does
// not matter. All else goes through `visit`.

bool note_global(Machine& m, u64 address, int bytes, How how, int lane) {
    const Timeline& t = m.time;
    Shadow& shadow = m.global_shadow;
    const Access mine{t.clock, u16(m.thread(lane)), 0};
    const u64 end = address + bytes;
    for (u64 a = address; a < end; a += 4) {
        const int part = int(std::min<u64>(4, end - a));
        if (part == 4) {
            Cell& c = shadow.word(a);
            const bool fresh = c.write.tick < t.launch_begin;
            if (how == How::read || how == How::read_only) {
                const Access read{t.clock, mine.thread,
                                  u16(how == How::read_only ? Access::read_only : 0)};
                if (fresh && (c.read.tick < t.launch_begin || c.read == read)) {
                    c.read = read;
                    continue;
                }
                constexpr u16 most = Access::many_blocks | Access::many_warps;
                if (fresh && c.read.tick >= t.barrier && (c.read.flags & most) == most &&
                    (how == How::read || c.read.flags & Access::read_only))
                    continue;
            } else if (how == How::write) {
                const bool own = c.write.thread == mine.thread && c.write.flags == 0 &&
                                 c.write.tick >= t.block_begin;
                const bool read = c.read.tick >= t.launch_begin &&
                                  !(c.read.thread == mine.thread && c.read.flags == 0 &&
                                    c.read.tick >= t.block_begin);
                if ((fresh || own) && !read) {
                    c = {mine, {}};
                    continue;
                }
            }
        }
        const Visitor visitor{m, t.launch_begin, false, lane, how};
        if (!visit_slowly(visitor, shadow, a, part, 15)) return false;
    }
    return true;
}

bool note_shared(Machine& m, u32 address, int bytes, How how, int lane, u32 used) {
    const Timeline& t = m.time;
    Shadow& shadow = m.shared_shadow;
    const u16 thread = u16(m.thread(lane));
    for (int i = 0; i < bytes; i += 4) {
        const u32 part = used >> i & 15;
        if (!part) continue;
        if (bytes >= 4 && part == 15) {
            Cell& c = shadow.word(address + i);
            const bool settled = c.write.tick >= t.block_begin && c.write.tick < t.barrier;
            const bool own =
                c.write.thread == thread && c.write.flags == 0 && c.write.tick >= t.block_begin;
            const bool own_read = c.read.thread == thread && c.read.flags == 0;
            if (how == How::read && (settled || own)) {
                if (c.read.tick >= t.barrier && c.read.flags & Access::many_warps) continue;
                if (c.read.tick < t.barrier || own_read) {
                    c.read = {t.clock, thread, 0};
                    continue;
                }
                if (c.read.tick == t.clock && c.read.flags & Access::many_lanes &&
                    c.read.thread / lanes == thread / lanes)
                    continue;
            } else if (how == How::write && (c.write.tick < t.barrier || own) &&
                       (c.read.tick < t.barrier || own_read)) {
                c = {{t.clock, thread, 0}, {}};
                continue;
            }
        }
        const Visitor visitor{m, t.block_begin, true, lane, how};
        if (!visit_slowly(visitor, shadow, address + i, std::min(bytes, 4), part)) return false;
    }
    return true;
}

}  // namespace softgpu
