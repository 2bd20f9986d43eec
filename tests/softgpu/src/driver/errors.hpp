// Errors of the driver and of the runtime, which have the same numbers.
#pragma once

#include <string>

#include "engine/types.hpp"

namespace softgpu {

enum class Error : int {
    success = 0,
    invalid_value = 1,
    out_of_memory = 2,
    no_device = 100,
    invalid_device = 101,
    invalid_image = 200,
    invalid_handle = 400,
    not_found = 500,
    not_ready = 600,
    launch_failed = 719,
    not_supported = 801,
    capture_unsupported = 900,
    capture_invalidated = 901,
    capture_unmatched = 903,
    capture_unjoined = 904,
    capture_isolation = 905,
    capture_implicit = 906,
    captured_event = 907,
    capture_wrong_thread = 908,
    unknown = 999
};

// A call that is refused, and why. API functions catch it (api.hpp).
struct Refusal {
    Error error;
    std::string words;
};

[[noreturn, gnu::format(printf, 2, 3)]] void refuse(Error error, const char* format, ...);

// Remember, in this thread, what went wrong; returns the number that the API returns.
int report(Error error, const std::string& words);

// The runtime's last error in this thread. `taken`: it is forgotten.
int last_error(bool taken);

const char* driver_name(int error);
const char* runtime_name(int error);

// The words of the last refusal in this thread if it was this error, else the usual ones.
const char* words_of(int error);

}  // namespace softgpu
