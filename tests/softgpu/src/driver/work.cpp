#include "work.hpp"

#include <cstring>

#include "errors.hpp"

namespace softgpu {

namespace {

// A function of the host may call the API, or wait for a thread that does: nothing is locked then.
struct Unlocked {
    Unlocked() { driver().mutex.unlock(); }
    ~Unlocked() { driver().mutex.lock(); }
};

void count(const Copy& copy) {
    Counts& counts = driver().counts;
    if (copy.from_device && copy.to_device) counts.within_device++;
    if (copy.from_device && !copy.to_device) counts.to_host++;
    if (!copy.from_device && copy.to_device) counts.to_device++;
}

struct Performer {
    void operator()(const KernelLaunch& launch) const { run_kernel(launch); }

    void operator()(const Copy& copy) const {
        const Allocations& memory = driver().allocations;
        memory.check(copy.to, copy.bytes, copy.to_device, "a copy to");
        memory.check(copy.from, copy.bytes, copy.from_device, "a copy from");
        memmove(reinterpret_cast<void*>(copy.to), reinterpret_cast<void*>(copy.from), copy.bytes);
        count(copy);
    }

    void operator()(const Fill& fill) const {
        driver().allocations.check(fill.to, fill.bytes, true, "a memset");
        memset(reinterpret_cast<void*>(fill.to), fill.value, fill.bytes);
    }

    void operator()(const HostCall& call) const {
        Unlocked unlocked;
        call.function(call.data);
    }
};

}  // namespace

Copy make_copy(u64 to, u64 from, u64 bytes, int kind) {
    const auto on_device = [](u64 address) {
        const Allocation* a = driver().allocations.find(address);
        return a && a->place != Place::host;
    };
    switch (kind) {
        case 0:
            return {to, from, bytes, false, false};
        case 1:
            return {to, from, bytes, true, false};
        case 2:
            return {to, from, bytes, false, true};
        case 3:
            return {to, from, bytes, true, true};
        case 4:
            return {to, from, bytes, on_device(to), on_device(from)};
        default:
            refuse(Error::invalid_value, "a copy of kind %d", kind);
    }
}

void perform(const Work& work) {
    std::visit(Performer(), work);
}

}  // namespace softgpu
