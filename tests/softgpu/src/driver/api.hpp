// How every function of the API is written: one call at a time, and a refusal becomes a number.
#pragma once

#include <new>

#include "driver.hpp"
#include "errors.hpp"

namespace softgpu {

template <typename Call>
int guarded(const Call& call) {
    try {
        std::scoped_lock hold(driver().mutex);
        call();
        return 0;
    } catch (const Refusal& refusal) {
        return report(refusal.error, refusal.words);
    } catch (const Unknown& unknown) {
        return report(Error::not_supported, unknown.what());
    } catch (const std::bad_alloc&) {
        return report(Error::out_of_memory, "the host has no memory");
    } catch (const std::exception& other) {
        return report(Error::unknown, other.what());
    }
}

}  // namespace softgpu
