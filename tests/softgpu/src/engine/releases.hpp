// What blocks know of one another: by a fence and then an atomic in one, and a later atomic on the
// same address in the other.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "races.hpp"

namespace softgpu {

class Releases {
  public:
    void begin_launch();
    void begin_block(const Timeline& time, int threads);
    // A barrier of the block is passed; `before` is the tick of the one before it.
    void pass_barrier(u32 before);
    void fence(const Timeline& time, int thread);
    // An atomic: know what was released through the address, and release what was fenced.
    void synchronise(const Timeline& time, u64 address, int thread);

    // Whether a thread of the block that runs knows of what another block did.
    bool is_known(const Timeline& time, const Access& access, int thread) const;
    // Whether it has acquired something from every block that ran before until a tick. (What
    // several blocks did at one place is not remembered one by one.)
    bool are_all_known(const Timeline& time, u32 tick, int thread) const;
    // The number of the block, in the order in which they ran, that ran at a tick.
    size_t block_at(u32 tick) const;

  private:
    // What a block did before an atomic, as far as fences cover it.
    struct Release {
        u32 block;
        u32 tick;                                        // of the atomic
        u16 thread;                                      // which did it
        u32 own;                                         // its last fence
        u32 whole_block;                                 // everything before this tick is covered
        std::shared_ptr<const std::vector<u32>> fences;  // of each thread, before the last barrier
        size_t acquired;  // how many of its block's acquisitions came before

        bool covers(const Access& access) const;
    };
    using Place = std::vector<Release>;
    // The releases that an atomic has seen.
    struct Acquisition {
        const Place* place;
        size_t count;
        u32 tick;
        u16 thread;
    };

    template <typename Wanted>
    bool search(u32 barrier, int thread, Wanted wanted) const;

    std::vector<u32> begins;  // of blocks: the tick
    std::unordered_map<u64, Place> places;
    std::unordered_map<u32, std::vector<Acquisition>> acquisitions;  // of blocks
    // Of the block that runs
    struct Fence {
        u32 tick = 0;
        u32 barrier = 0;  // the last one before the fence
    };
    std::vector<Fence> fences;  // the last of each thread; empty if there are none
    std::shared_ptr<const std::vector<u32>> earlier_fences;
    u32 whole_block = 0;
    bool fenced_since_barrier = false;
    int threads = 0;
};

}  // namespace softgpu
