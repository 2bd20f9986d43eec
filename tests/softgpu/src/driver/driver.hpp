// What there is once in the process: the devices, their memory, and what Python has set.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "allocations.hpp"
#include "engine/run.hpp"
#include "engine/types.hpp"
#include "limits.hpp"

namespace softgpu {

struct Device {
    int number;
    Limits limits;
    u64 memory;    // bytes
    u64 capacity;  // of them, what may be in use at the same time: Python can lower it
    u64 used = 0, most_used = 0;
    u64 release_threshold = 0;  // of its memory pool, which keeps nothing whatever it says

    u64 free_bytes() const { return capacity > used ? capacity - used : 0; }
};

// What Python sets by name (control.cpp). -1: as the device has it.
struct Options {
    s64 seed = 0, rough = 0, races = 1, strict = 1, mma_products = -1, mma_bits = -1;
    s64 null = 0;      // kernels do nothing
    s64 sticky = 0;    // after a fault every call fails, as on a GPU
    s64 verbose = 0;   // 1: refusals, 2: launches too, to stderr
    s64 visible = -1;  // how many devices the runtime reports
    // How many allocations succeed from now on, and how many then fail. -1: all succeed.
    s64 allocations = -1, failures = 0;
};

// Transfers and waits so far.
struct Counts {
    u64 to_host = 0, to_device = 0, within_device = 0, synchronizations = 0;
};

// A kernel that has run.
struct Record {
    std::string name;  // demangled, without its parameters
    u32 grid[3], block[3];
};

struct Usage {
    u64 launches = 0;
    double seconds = 0;
};

struct Driver {
    std::mutex mutex;            // of all of this, and of streams, modules and graphs
    std::deque<Device> devices;  // whose addresses do not change
    Options options;
    Counts counts;
    Allocations allocations;
    std::map<std::string, Usage> usage;  // by kernel
    std::vector<Record> records;
    bool recording = false;
    std::string fault;  // of the first fault, if faults are sticky

    // How many devices the runtime reports.
    int visible() const;

    // Counts an allocation, and says whether it is one that Python wants to fail.
    bool fails_to_allocate();

    // Refuses a number that is none of a visible device.
    Device& device(int number);

    // How a kernel runs on a device. CuPy's own kernels read shared memory that nobody wrote, and
    // race within a warp; so these two checks are off for them.
    Settings settings(const Device& device, bool of_cupy) const;
};

Driver& driver();

// The device that is current in this thread.
Device& current_device();
int current_device_number();
void set_current_device(int number);

double now();  // seconds

}  // namespace softgpu
