#include "releases.hpp"

#include <algorithm>

namespace softgpu {

bool Releases::Release::covers(const Access& access) const {
    if (access.tick < whole_block) return true;
    if (access.thread == thread && access.tick < own) return true;
    // Who has seen this atomic comes after it, and after those that came before it
    if (access.flags & Access::atomic && access.thread == thread && access.tick <= tick)
        return true;
    return fences && access.tick < (*fences)[access.thread];
}

void Releases::begin_launch() {
    begins.clear();
    places.clear();
    acquisitions.clear();
}

void Releases::begin_block(const Timeline& time, int count) {
    begins.push_back(time.block_begin);
    fences.clear();
    earlier_fences.reset();
    whole_block = 0;
    fenced_since_barrier = false;
    threads = count;
}

void Releases::pass_barrier(u32 before) {
    if (!fenced_since_barrier) return;
    fenced_since_barrier = false;
    whole_block = before;
    auto ticks = std::make_shared<std::vector<u32>>();
    for (const Fence& fence : fences) ticks->push_back(fence.tick);
    earlier_fences = std::move(ticks);
}

void Releases::fence(const Timeline& time, int thread) {
    if (fences.empty()) fences.resize(threads);
    fences[thread] = {time.clock, time.barrier};
    fenced_since_barrier = true;
}

void Releases::synchronise(const Timeline& time, u64 address, int thread) {
    if (places.empty() && fences.empty()) return;  // as in nearly all kernels
    const u32 block = u32(begins.size() - 1);
    const bool releases = earlier_fences || (!fences.empty() && fences[thread].tick);
    const auto found = places.find(address);
    if (found != places.end()) {
        const Place& place = found->second;
        acquisitions[block].push_back({&place, place.size(), time.clock, u16(thread)});
    }
    if (!releases) return;
    const Fence own = fences[thread];
    const auto acquired = acquisitions.find(block);
    places[address].push_back({block, time.clock, u16(thread), own.tick,
                               std::max(whole_block, own.barrier), earlier_fences,
                               acquired == acquisitions.end() ? 0 : acquired->second.size()});
}

size_t Releases::block_at(u32 tick) const {
    return std::upper_bound(begins.begin(), begins.end(), tick) - begins.begin() - 1;
}

// Search what was acquired, what those had acquired who released it, and so on, for a release that
// `wanted` takes.
template <typename Wanted>
bool Releases::search(u32 barrier, int thread, Wanted wanted) const {
    const auto own = acquisitions.find(u32(begins.size() - 1));
    if (own == acquisitions.end()) return false;
    std::vector<Acquisition> open;
    for (const Acquisition& a : own->second)
        if (a.thread == thread || a.tick < barrier) open.push_back(a);
    std::unordered_map<const Place*, size_t> searched;
    while (!open.empty()) {
        const Acquisition a = open.back();
        open.pop_back();
        size_t& first = searched[a.place];
        for (size_t i = first; i < a.count; i++) {
            const Release& release = (*a.place)[i];
            if (wanted(release)) return true;
            const auto earlier = acquisitions.find(release.block);
            for (size_t k = 0; k < release.acquired; k++) {
                const Acquisition& e = earlier->second[k];
                if (release.covers({e.tick, e.thread, Access::atomic})) open.push_back(e);
            }
        }
        first = std::max(first, a.count);
    }
    return false;
}

bool Releases::is_known(const Timeline& time, const Access& access, int thread) const {
    const u32 block = u32(block_at(access.tick));
    return search(time.barrier, thread, [&](const Release& release) {
        return release.block == block && release.covers(access);
    });
}

bool Releases::are_all_known(const Timeline& time, u32 tick, int thread) const {
    const size_t now = begins.size() - 1;
    const size_t count = std::min(block_at(tick) + 1, now);
    std::vector<bool> known(now);
    size_t missing = count;
    if (missing == 0) return true;
    return search(time.barrier, thread, [&](const Release& release) {
        if (release.block < count && !known[release.block]) {
            known[release.block] = true;
            missing--;
        }
        return missing == 0;
    });
}

}  // namespace softgpu
