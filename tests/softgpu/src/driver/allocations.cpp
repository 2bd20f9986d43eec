#include "allocations.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "driver.hpp"
#include "errors.hpp"

namespace softgpu {

namespace {

constexpr u64 page = 4096;

u64 whole_pages(u64 bytes) {
    return (bytes + page - 1) / page * page;
}

// An address is not used again before all others were: what is freed is then no other array, and a
// kernel that uses it faults. Where something else lies there, the system chooses an address.
u64 next_address(u64 bytes) {
    constexpr u64 first = 1ull << 44, last = 5ull << 44;  // below the host's programs and libraries
    static u64 next = first;
    if (next + bytes > last) next = first;
    next += bytes;
    return next - bytes;
}

}  // namespace

// A page before and after cannot be touched at all, so that a stray access of the host or of the
// engine itself crashes. Bytes begin at a page: a device's memory is aligned to 256 bytes or more.
Allocation::Allocation(u64 bytes, Place place, Device* device)
    : bytes(bytes), place(place), device(device), mapped_bytes(whole_pages(bytes) + 2 * page) {
    mapped = mmap(reinterpret_cast<void*>(next_address(mapped_bytes)), mapped_bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) refuse(Error::out_of_memory, "the host has no %lu bytes", bytes);
    begin = reinterpret_cast<u64>(mapped) + page;
    u8* usable = static_cast<u8*>(mapped) + page;
    mprotect(usable, whole_pages(bytes), PROT_READ | PROT_WRITE);
    memset(usable, 0xff, bytes);  // NaN in every format
}

Allocation::~Allocation() {
    munmap(mapped, mapped_bytes);
}

u64 Allocations::allocate(u64 bytes, Place place, Device& device) {
    const bool counts = place != Place::host;
    if (driver().fails_to_allocate())
        refuse(Error::out_of_memory, "%lu bytes, which were to fail", bytes);
    if (counts && bytes > device.free_bytes())
        refuse(Error::out_of_memory, "%lu bytes, where %lu of %lu are free", bytes,
               device.free_bytes(), device.memory);
    auto made = std::make_unique<Allocation>(bytes, place, &device);
    const u64 begin = made->begin;
    by_address[begin] = std::move(made);
    if (counts) {
        device.used += bytes;
        device.most_used = std::max(device.most_used, device.used);
    }
    return begin;
}

void Allocations::release(u64 address, Place place, const char* call) {
    if (!address) return;
    const auto found = by_address.find(address);
    const bool known = found != by_address.end();
    if (!known || (found->second->place == Place::host) != (place == Place::host))
        refuse(Error::invalid_value, "%s: no allocation begins at %#lx%s", call, address,
               known ? ", but one of the other kind" : ", or it was freed before");
    const Allocation& freed = *found->second;
    if (freed.place != Place::host) freed.device->used -= freed.bytes;
    by_address.erase(found);
}

const Allocation* Allocations::find(u64 address) const {
    auto after = by_address.upper_bound(address);
    if (after == by_address.begin()) return nullptr;
    const Allocation& before = *std::prev(after)->second;
    return address < before.end() || address == before.begin ? &before : nullptr;
}

void Allocations::check(u64 address, u64 bytes, bool of_device, const char* what) const {
    if (!bytes) return;
    const Allocation* a = find(address);
    if (!a && !of_device) return;  // pageable memory of the host, whose ends nobody knows
    if (!a) refuse(Error::invalid_value, "%s: %#lx is in no device's memory", what, address);
    if (address + bytes > a->end())
        refuse(Error::invalid_value, "%s: %lu bytes from %#lx leave an allocation of %lu", what,
               bytes, address, a->bytes);
    if (!of_device && a->place == Place::device)
        refuse(Error::invalid_value, "%s: %#lx is on a device, not on the host", what, address);
}

}  // namespace softgpu
