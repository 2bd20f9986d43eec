// Things that the API names by a pointer: a pointer that names none is refused, not followed.
#pragma once

#include <memory>
#include <unordered_map>

#include "errors.hpp"

namespace softgpu {

template <typename T>
class Handles {
  public:
    void* add(std::shared_ptr<T> thing) {
        void* handle = thing.get();
        all[handle] = std::move(thing);
        return handle;
    }

    std::shared_ptr<T> find(const void* handle, const char* call,
                            Error error = Error::invalid_handle) const {
        const auto found = all.find(handle);
        if (found == all.end()) refuse(error, "%s: %p names nothing, or no more", call, handle);
        return found->second;
    }

    std::shared_ptr<T> remove(const void* handle, const char* call,
                              Error error = Error::invalid_handle) {
        std::shared_ptr<T> thing = find(handle, call, error);
        all.erase(handle);
        return thing;
    }

    const auto& everything() const { return all; }

  private:
    std::unordered_map<const void*, std::shared_ptr<T>> all;
};

}  // namespace softgpu
