// What Python asks and sets; softgpu/__init__.py calls nothing else of this library.
#include <algorithm>
#include <cstring>
#include <map>

#include "api.hpp"
#include "modules.hpp"

using namespace softgpu;

namespace {

s64* option(const std::string& name) {
    Options& o = driver().options;
    const std::map<std::string, s64*> all = {
        {"seed", &o.seed},
        {"rough", &o.rough},
        {"races", &o.races},
        {"strict", &o.strict},
        {"mma_products", &o.mma_products},
        {"mma_bits", &o.mma_bits},
        {"null", &o.null},
        {"sticky", &o.sticky},
        {"verbose", &o.verbose},
        {"visible", &o.visible},
        {"allocations", &o.allocations},
        {"failures", &o.failures},
    };
    const auto found = all.find(name);
    if (found == all.end()) refuse(Error::invalid_value, "no option %s", name.c_str());
    return found->second;
}

Device& device(int number) {
    if (number < 0 || number >= static_cast<int>(driver().devices.size()))
        refuse(Error::invalid_device, "no device %d", number);
    return driver().devices[static_cast<size_t>(number)];
}

// A name for a buffer of the caller's, which is cut if it is too long.
void put(const std::string& text, char* to, size_t room) {
    const size_t length = std::min(text.size(), room - 1);
    memcpy(to, text.data(), length);
    to[length] = 0;
}

}  // namespace

extern "C" {

int softgpu_add_device(int capability, u64 memory) {
    return guarded([&] {
        const int number = static_cast<int>(driver().devices.size());
        driver().devices.push_back({number, limits_of(capability), memory, memory});
    });
}

int softgpu_set(const char* name, s64 value) {
    return guarded([&] {
        *option(name) = value;
        if (!driver().options.sticky) driver().fault.clear();
    });
}

int softgpu_get(const char* name, s64* value) {
    return guarded([&] { *value = *option(name); });
}

// How many bytes may be in use on a device at the same time.
int softgpu_set_capacity(int number, u64 bytes) {
    return guarded([&] { device(number).capacity = bytes; });
}

int softgpu_memory(int number, u64* used, u64* capacity) {
    return guarded([&] { *used = device(number).used, *capacity = device(number).capacity; });
}

// Copies to the host, to a device and within devices, and waits of the host, so far.
void softgpu_counts(u64* four) {
    guarded([&] {
        const Counts& c = driver().counts;
        const u64 values[4] = {c.to_host, c.to_device, c.within_device, c.synchronizations};
        memcpy(four, values, sizeof values);
    });
}

// Keep from now on which kernels run, or no more.
void softgpu_record(int on) {
    guarded([&] {
        driver().recording = on;
        if (!on) driver().records.clear();
    });
}

u64 softgpu_records() {
    u64 count = 0;
    guarded([&] { count = driver().records.size(); });
    return count;
}

// A record's name, and its grid and block.
int softgpu_read_record(u64 i, char* name, size_t room, u32* six) {
    return guarded([&] {
        if (i >= driver().records.size()) refuse(Error::invalid_value, "no record %lu", i);
        const Record& record = driver().records[i];
        put(record.name, name, room);
        memcpy(six, record.grid, sizeof record.grid);
        memcpy(six + 3, record.block, sizeof record.block);
    });
}

u64 softgpu_kernels() {
    u64 count = 0;
    guarded([&] { count = driver().usage.size(); });
    return count;
}

// Launches and seconds of the i-th kernel, by its name in the alphabet.
int softgpu_usage(u64 i, char* name, size_t room, u64* launches, double* seconds) {
    return guarded([&] {
        if (i >= driver().usage.size()) refuse(Error::invalid_value, "no kernel %lu", i);
        const auto& [key, usage] = *std::next(driver().usage.begin(), static_cast<s64>(i));
        put(key, name, room);
        *launches = usage.launches, *seconds = usage.seconds;
    });
}

}  // extern "C"
