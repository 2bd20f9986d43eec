#include "driver.hpp"

#include <chrono>

#include "errors.hpp"

namespace softgpu {

namespace {

thread_local int current_number = 0;

}  // namespace

// It is never destroyed: Python may free arrays and streams while the process ends.
Driver& driver() {
    static Driver& only = *new Driver;
    return only;
}

int Driver::visible() const {
    const int all = static_cast<int>(devices.size());
    return options.visible >= 0 && options.visible < all ? static_cast<int>(options.visible) : all;
}

bool Driver::fails_to_allocate() {
    if (options.allocations < 0) return false;
    if (options.allocations > 0) {
        options.allocations--;
        return false;
    }
    if (options.failures <= 0) return false;
    options.failures--;
    return true;
}

Device& Driver::device(int number) {
    if (!visible()) refuse(Error::no_device, "there is no device");
    if (number < 0 || number >= visible())
        refuse(Error::invalid_device, "device %d of %d", number, visible());
    return devices[static_cast<size_t>(number)];
}

Settings Driver::settings(const Device& device, bool of_cupy) const {
    Settings s;
    s.seed = static_cast<u32>(options.seed);
    s.rough = options.rough;
    s.races = options.races && !of_cupy;
    s.strict = options.strict && !of_cupy;
    s.mma_products = options.mma_products < 0 ? device.limits.mma_products
                                              : static_cast<int>(options.mma_products);
    s.mma_bits = options.mma_bits < 0 ? device.limits.mma_bits : static_cast<int>(options.mma_bits);
    return s;
}

Device& current_device() {
    return driver().device(current_number);
}
int current_device_number() {
    return current_number;
}
void set_current_device(int number) {
    current_number = driver().device(number).number;
}

double now() {
    using clock = std::chrono::steady_clock;
    return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

}  // namespace softgpu
