// Who touched which bytes, and when: what finds races.
//
// Time is counted in ticks, which pass at barriers and fences only. Each word of memory has a cell
// that remembers its last write and its reads since. Blocks run one after another, so a tick tells
// the block: a thread knows what was done before the launch began, in its own block before the last
// barrier, in its own warp before the last barrier of the warp, and by itself. What another block
// did it knows by atomics with fences (releases.hpp).
#pragma once

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "types.hpp"

namespace softgpu {

struct Machine;

struct Timeline {
    u32 clock = 0;  // now
    u32 launch_begin = 0;
    u32 block_begin = 0;
    u32 barrier = 0;  // the last one of the block, or its begin
};

struct Access {
    enum Flag : u16 {
        // Others did it as well, not ordered with the last one that did
        many_lanes = 1,
        many_warps = 2,
        many_blocks = 4,
        atomic = 8,      // of a write
        copying = 16,    // of a write: a cp.async is under way
        split = 32,      // of a write: the cells of the single bytes hold what there is to know
        read_only = 64,  // of a read: one was an ld.global.nc
    };
    u32 tick = 0;
    u16 thread = 0;  // of the block
    u16 flags = 0;

    bool operator==(const Access&) const = default;
};

// The tick of a write that is no ordinary one (copying, split): no comparison of ticks lets it
// pass.
constexpr u32 special_tick = ~0u;

struct Cell {
    Access write, read;

    bool operator==(const Cell&) const = default;
};

// The cells of memory. A word is split when single bytes of it are accessed.
class Shadow {
  public:
    static constexpr u64 page_bytes = 4096;

    // The cell of the word at an address.
    Cell& word(u64 address) {
        const u64 number = address / page_bytes;
        if (number != recent_number) find(number);
        return recent->words[address % page_bytes / 4];
    }
    // The cells of the four bytes of a word.
    Cell* bytes(u64 address);

    void clear();
    size_t size() const { return held_bytes; }
    bool is_split() const { return held_bytes > pages.size() * sizeof(Page); }

  private:
    struct Page {
        Cell words[page_bytes / 4];
        std::unique_ptr<Cell[]> bytes;
    };

    void find(u64 number);

    std::unordered_map<u64, std::unique_ptr<Page>> pages;
    Page* recent = nullptr;
    u64 recent_number = ~0ull;
    size_t held_bytes = 0;
};

// What the lanes of a warp know of one another by bar.warp.sync.
struct WarpBarriers {
    u32 last = 0;           // of all lanes
    std::vector<u32> seen;  // [knows][known]; empty if there were only barriers of all lanes

    void begin(u32 tick) { last = tick, seen.clear(); }
    void wait(u32 mask, u32 present, u32 tick);
    u32 between(int knows, int known) const {
        return seen.empty() ? last : std::max(last, seen[knows * lanes + known]);
    }
    u32 with_all(int knows) const;
};

enum class How : u8 { read, read_only, write, atomic, copy };

// Note that a lane accesses bytes of global or of shared memory. False after a fault.
bool note_global(Machine& m, u64 address, int bytes, How how, int lane);
// `used`: which bytes of a read count.
bool note_shared(Machine& m, u32 address, int bytes, How how, int lane, u32 used = ~0u);

}  // namespace softgpu
