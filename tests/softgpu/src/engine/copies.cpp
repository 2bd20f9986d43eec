// cp.async: copies from global to shared memory that are under way until a thread waits for them.
#include "addresses.hpp"
#include "faults.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

void run_copy(Machine& m, const Instruction& s) {
    const u32 bytes = s.element_bytes;
    u64 to[lanes], from[lanes];
    compute_addresses(m, s.address, to);
    compute_addresses(m, s.source, from);
    if (!check_shared(m, to, m.mask, bytes, bytes, How::write)) return;
    m.time.clock++;  // what is written to the source from now on comes too late
    for_active(m, [&](int i) {
        const u32 taken = s.arg[0] < 0 ? bytes : reg<u32>(m, s.arg[0])[i];
        if (taken > bytes)
            return fail(m, i, "out of bounds: cp.async reads %u of %u bytes", taken, bytes);
        if (from[i] % bytes)
            return fail(
                m, i, "misaligned: cp.async of %u bytes from 0x%llx, which is no multiple of them",
                bytes, static_cast<unsigned long long>(from[i]));
        if (taken) {
            if (!check_global(m, from, 1u << i, taken, 1, How::read)) return;
            if (m.settings.races && !note_global(m, from[i], taken, How::read, i)) return;
        }
        if (!note_shared(m, u32(to[i]), bytes, How::copy, i)) return;
        Warp& w = *m.warp;
        w.copies.push_back({from[i], u32(to[i]), bytes, taken, m.time.clock, w.committed[i], i});
    });
}

// Whether somebody has written to what a copy reads since it was issued.
bool source_is_kept(Machine& m, const Copy& c) {
    for (u64 a = c.from; m.settings.races && a < c.from + c.taken; a++) {
        const Cell& whole = m.global_shadow.word(a);
        const bool split = whole.write.flags & Access::split;
        const Cell& cell = split ? m.global_shadow.bytes(a)[a % 4] : whole;
        if (cell.write.tick < c.tick) continue;
        fail(m, c.lane, "cp.async under way: it reads %s, which thread %d has written since",
             global_place(m, a).c_str(), cell.write.thread);
        return false;
    }
    return true;
}

// The bytes are there now, written by the thread that waited; until now the source was read.
void finish(Machine& m, const Copy& c) {
    if (!source_is_kept(m, c)) return;
    if (m.settings.races && !note_global(m, c.from, c.taken, How::read, c.lane)) return;
    memset(&m.shared[c.to], 0, c.bytes);
    memcpy(&m.shared[c.to], reinterpret_cast<const u8*>(c.from), c.taken);
    for (u32 at = c.to; at < c.to + c.bytes; at += 4) {
        Cell written{{m.time.clock, u16(m.thread(c.lane)), 0}, {}};
        m.shared_shadow.word(at) = written;
    }
}

// Wait until at most `pending` of the groups that were committed are under way.
void wait(Machine& m, u32 pending) {
    Warp& w = *m.warp;
    size_t kept = 0;
    for (const Copy& c : w.copies) {
        const bool waits = m.mask >> c.lane & 1 && c.group + pending < w.committed[c.lane];
        if (waits)
            finish(m, c);
        else
            w.copies[kept++] = c;
    }
    w.copies.resize(kept);
}

void run_commit(Machine& m, const Instruction&) {
    for_active(m, [&](int i) { m.warp->committed[i]++; });
}

}  // namespace

void add_copies(Table& table) {
    table.add("cp.async", {"", run_copy, Kind::plain, ""});
    table.add("cp.async.commit_group", {"", run_commit, Kind::plain, ""});
    table.add("cp.async.wait_group",
              {"", [](Machine& m, const Instruction& s) { wait(m, s.number); }, Kind::plain, ""});
    table.add("cp.async.wait_all", {"",
                                    [](Machine& m, const Instruction& s) {
                                        run_commit(m, s);
                                        wait(m, 0);
                                    },
                                    Kind::plain, ""});
}

}  // namespace softgpu
