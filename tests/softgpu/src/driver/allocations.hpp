// Memory of devices and pinned memory of the host: pieces of the process's memory, each between red
// zones, so that what lies behind the end of one is never another.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "engine/types.hpp"

namespace softgpu {

struct Device;  // driver.hpp

// Numbers of cudaMemoryType.
enum class Place : int { host = 1, device = 2, managed = 3 };

struct Allocation {
    u64 begin = 0, bytes = 0;
    Place place = Place::device;
    Device* device = nullptr;  // of pinned memory: the one that was current

    u64 end() const { return begin + bytes; }
    bool reachable_from(const Device& from) const {
        return place != Place::device || device == &from;
    }

    Allocation(u64 bytes, Place place, Device* device);
    ~Allocation();
    Allocation(const Allocation&) = delete;
    Allocation& operator=(const Allocation&) = delete;

  private:
    void* mapped = nullptr;
    u64 mapped_bytes = 0;
};

// All that are live, by address.
class Allocations {
  public:
    // New memory, full of NaN. Refuses what the device has not got.
    u64 allocate(u64 bytes, Place place, Device& device);

    // Refuses an address where no allocation begins, so what is freed already too.
    void release(u64 address, Place place, const char* call);

    // The allocation that an address lies in, or null.
    const Allocation* find(u64 address) const;

    // Refuses a copy that leaves an allocation, or that takes memory of a device for the host's
    // (`of_device` false) or the reverse.
    void check(u64 address, u64 bytes, bool of_device, const char* what) const;

  private:
    std::map<u64, std::unique_ptr<Allocation>> by_address;
};

}  // namespace softgpu
