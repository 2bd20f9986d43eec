// What the lanes of a warp do together. The scheduler calls these when all lanes of the mask are
// there; for bar.red, when all threads of the block are.
#include "addresses.hpp"
#include "faults.hpp"
#include "plain.hpp"

namespace softgpu {

namespace {

enum class Shuffle { up, down, butterfly, index };

// shfl d|p, a, b, c, mask
template <Shuffle kind>
void shuffle(Machine& m, const Instruction& s) {
    const u32 *a = reg<u32>(m, s.arg[2]), *b = reg<u32>(m, s.arg[3]), *c = reg<u32>(m, s.arg[4]);
    u32 shown[lanes];
    bool in_range[lanes];
    for_active(m, [&](int i) {
        const int by = b[i] & 31, clamp = c[i] & 31, segment = c[i] >> 8 & 31;
        const int first = i & segment, last = first | (clamp & ~segment);
        int from;
        switch (kind) {
            case Shuffle::up:
                from = i - by;
                break;
            case Shuffle::down:
                from = i + by;
                break;
            case Shuffle::butterfly:
                from = i ^ by;
                break;
            case Shuffle::index:
                from = first | (by & ~segment);
        }
        in_range[i] = kind == Shuffle::up ? from >= last : from <= last;
        if (!in_range[i]) from = i;
        if (!(m.mask >> from & 1))
            fail(m, i,
                 "divergent barrier: a shuffle takes the value of lane %d, which is not there",
                 from);
        else
            shown[i] = a[from];
    });
    if (!m.fault.empty()) return;
    for_active(m, [&](int i) {
        reg<u32>(m, s.arg[0])[i] = shown[i];
        if (s.arg[1] >= 0) reg<pred>(m, s.arg[1])[i] = yes(in_range[i]);
    });
}

// The lanes whose predicate is true. `number`: it is negated.
u32 ballot(const Machine& m, const Instruction& s) {
    u32 result = 0;
    for_active(
        m, [&](int i) { result |= ((reg<pred>(m, s.arg[1])[i].bit & 1) ^ u32(s.number)) << i; });
    return result;
}

template <typename T>
void give_all(const Machine& m, s32 to, T value) {
    for_active(m, [&](int i) { reg<T>(m, to)[i] = value; });
}

void vote_ballot(Machine& m, const Instruction& s) {
    give_all(m, s.arg[0], ballot(m, s));
}
void vote_any(Machine& m, const Instruction& s) {
    give_all(m, s.arg[0], yes(ballot(m, s)));
}
void vote_all(Machine& m, const Instruction& s) {
    give_all(m, s.arg[0], yes(ballot(m, s) == m.mask));
}
void vote_uniform(Machine& m, const Instruction& s) {
    const u32 b = ballot(m, s);
    give_all(m, s.arg[0], yes(b == 0 || b == m.mask));
}

// match.any d, a, mask: the lanes that show the same.
template <typename T>
void match_any(Machine& m, const Instruction& s) {
    const T* a = reg<T>(m, s.arg[1]);
    u32 same[lanes];
    for_active(m, [&](int i) {
        same[i] = 0;
        for_active(m, [&](int j) { same[i] |= u32(a[i] == a[j]) << j; });
    });
    for_active(m, [&](int i) { reg<u32>(m, s.arg[0])[i] = same[i]; });
}

// redux d, a, mask
template <auto join>
void reduce(Machine& m, const Instruction& s) {
    using T = decltype(join(0, 0));
    const T* a = reg<T>(m, s.arg[1]);
    T result = a[__builtin_ctz(m.mask)];
    for (u32 rest = m.mask & (m.mask - 1); rest; rest &= rest - 1)
        result = join(result, a[__builtin_ctz(rest)]);
    give_all(m, s.arg[0], result);
}

// This alone orders memory: shfl, vote and mma do not.
void warp_barrier(Machine& m, const Instruction& s) {
    const u32 members = reg<u32>(m, s.arg[0])[__builtin_ctz(m.mask)];
    m.warp->barriers.wait(members, m.warp->present, ++m.time.clock);
}

// bar.red d, p: `barrier_count` threads of the block have a predicate that is true.
void count_threads(Machine& m, const Instruction& s) {
    give_all(m, s.arg[0], m.barrier_count);
}
void any_thread(Machine& m, const Instruction& s) {
    give_all(m, s.arg[0], yes(m.barrier_count != 0));
}
void all_threads(Machine& m, const Instruction& s) {
    give_all(m, s.arg[0], yes(m.barrier_count == u32(m.threads)));
}

// Row r of matrix i is at the address of lane 8 i + r; a lane's register i holds elements
// 2 (lane % 4) and the next of row lane / 4, or of column lane / 4 if transposed.
template <int matrices, bool transposed>
void load_matrices(Machine& m, const Instruction& s) {
    u8* rows[lanes];
    const u32 whole = m.mask;
    m.set_mask(matrices == 4 ? all_lanes : (1u << 8 * matrices) - 1);  // the others' do not count
    const bool found = locate(m, s.address, 16, How::read, rows);
    m.set_mask(whole);
    if (!found) return;
    for (int k = 0; k < matrices; k++)
        for (int i = 0; i < lanes; i++) {
            u16 pair[2];
            for (int e = 0; e < 2; e++) {
                const int row = transposed ? i % 4 * 2 + e : i / 4;
                const int column = transposed ? i / 4 : i % 4 * 2 + e;
                memcpy(&pair[e], rows[8 * k + row] + 2 * column, 2);
            }
            memcpy(&reg<u32>(m, s.arg[k])[i], pair, 4);
        }
}

template <int matrices>
void add_ldmatrix(Table& table, const std::string& name) {
    const std::string begin = "ldmatrix.sync.aligned.m8n8." + name;
    table.add(begin + ".shared.b16", {"", load_matrices<matrices, false>, Kind::warp_sync, ""});
    table.add(begin + ".trans.shared.b16",
              {"", load_matrices<matrices, true>, Kind::warp_sync, ""});
}

}  // namespace

void add_warps(Table& table) {
    const auto sync = [&](const char* name, auto* run, int mask = 2) {
        table.add(name, {"", run, Kind::warp_sync, "", mask});
    };
    sync("shfl.sync.up.b32", shuffle<Shuffle::up>, 5);
    sync("shfl.sync.down.b32", shuffle<Shuffle::down>, 5);
    sync("shfl.sync.bfly.b32", shuffle<Shuffle::butterfly>, 5);
    sync("shfl.sync.idx.b32", shuffle<Shuffle::index>, 5);
    sync("vote.sync.ballot.b32", vote_ballot);
    sync("vote.sync.any.pred", vote_any);
    sync("vote.sync.all.pred", vote_all);
    sync("vote.sync.uni.pred", vote_uniform);
    sync("match.any.sync.b32", match_any<u32>);
    sync("match.any.sync.b64", match_any<u64>);
    sync("redux.sync.add.s32", reduce<[](u32 a, u32 b) -> u32 { return a + b; }>);
    sync("redux.sync.add.u32", reduce<[](u32 a, u32 b) -> u32 { return a + b; }>);
    sync("redux.sync.min.s32", reduce<[](s32 a, s32 b) -> s32 { return std::min(a, b); }>);
    sync("redux.sync.min.u32", reduce<[](u32 a, u32 b) -> u32 { return std::min(a, b); }>);
    sync("redux.sync.max.s32", reduce<[](s32 a, s32 b) -> s32 { return std::max(a, b); }>);
    sync("redux.sync.max.u32", reduce<[](u32 a, u32 b) -> u32 { return std::max(a, b); }>);
    sync("redux.sync.and.b32", reduce<[](u32 a, u32 b) -> u32 { return a & b; }>);
    sync("redux.sync.or.b32", reduce<[](u32 a, u32 b) -> u32 { return a | b; }>);
    sync("redux.sync.xor.b32", reduce<[](u32 a, u32 b) -> u32 { return a ^ b; }>);
    sync("bar.warp.sync", warp_barrier, 0);
    table.add("activemask.b32",
              {"", [](Machine& m, const Instruction& s) { give_all(m, s.arg[0], m.mask); },
               Kind::plain, "w"});
    table.add("bar.sync", {"", nullptr, Kind::block_barrier, ""});
    table.add("bar.red.popc.u32", {"", count_threads, Kind::block_barrier, ""});
    table.add("bar.red.or.pred", {"", any_thread, Kind::block_barrier, ""});
    table.add("bar.red.and.pred", {"", all_threads, Kind::block_barrier, ""});
    add_ldmatrix<1>(table, "x1");
    add_ldmatrix<2>(table, "x2");
    add_ldmatrix<4>(table, "x4");
}

}  // namespace softgpu
